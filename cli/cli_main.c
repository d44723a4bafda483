#include <signal.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/up_view.h"

int
main(int argc, char **argv)
{
	static const struct cmd *const tables[] = {
		cmd_account_table,
		cmd_member_table,
		cmd_app_table,
		cmd_deploy_table,
		cmd_cart_table,
		cmd_catalog_table,
		cmd_cart_check_table,
		cmd_env_table,
		cmd_ssh_table,
		cmd_storage_table,
		cmd_route_table,
		cmd_snapshot_table,
		cmd_backup_table,
		cmd_profile_table,
		cmd_git_table,
		cmd_log_table,
		cmd_alias_table,
		cmd_drain_table,
		cmd_process_table,
		cmd_configure_table,
		cmd_idle_table,
		cmd_event_table,
		cmd_admin_table,
		cmd_top_table,
		cmd_up_table,
		NULL,
	};

	/* Not a command: what `pinion up` runs between fork and exec. */
	if (argc > 1 && strcmp(argv[1], "up-view") == 0)
		return up_view_main(argc, argv);
	(void)signal(SIGPIPE, SIG_IGN);
	return cmd_main(tables, argc, argv);
}
