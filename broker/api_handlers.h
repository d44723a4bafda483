/* broker/api_handlers.h: the handlers of the routes; each takes its call (api_call.h). */
#pragma once

struct api_call;

/* api_entry.c */
void api_entry_links(struct api_call *c);
void api_entry_environment(struct api_call *c);
void api_entry_regions(struct api_call *c);
void api_entry_quickstarts(struct api_call *c);
void api_entry_teams(struct api_call *c);
void api_entry_team_add(struct api_call *c);

/* api_account.c */
void api_account_show(struct api_call *c);
void api_account_password(struct api_call *c);

/* api_token.c */
void api_token_list(struct api_call *c);
void api_token_create(struct api_call *c);
void api_token_show(struct api_call *c);
void api_token_update(struct api_call *c);
void api_token_delete(struct api_call *c);
void api_token_delete_all(struct api_call *c);

/* api_domain.c */
void api_domain_list(struct api_call *c);
void api_domain_create(struct api_call *c);
void api_domain_show(struct api_call *c);
void api_domain_update(struct api_call *c);
void api_domain_delete(struct api_call *c);

/* api_member.c */
void api_member_list(struct api_call *c);
void api_member_show(struct api_call *c);
void api_member_change(struct api_call *c);
void api_member_update(struct api_call *c);
void api_member_remove(struct api_call *c);
void api_member_remove_many(struct api_call *c);

/* api_cart_admin.c */
void api_cart_admin_list(struct api_call *c);
void api_cart_admin_import(struct api_call *c);
void api_cart_admin_upload(struct api_call *c);
void api_cart_admin_show(struct api_call *c);
void api_cart_admin_update(struct api_call *c);
void api_cart_admin_remove(struct api_call *c);
void api_cart_admin_upgrade(struct api_call *c);
/* api_cart.c */
void api_cart_list(struct api_call *c);
void api_cart_list_by(struct api_call *c);
void api_cart_show(struct api_call *c);
void api_cart_of_app(struct api_call *c);
void api_cart_of_app_show(struct api_call *c);
void api_cart_add(struct api_call *c);
void api_cart_update(struct api_call *c);
struct wire_app;
struct wire_gear_cart;
void api_cart_status(struct api_call *c, const struct wire_app *a, const struct wire_gear_cart *g);
void api_cart_remove(struct api_call *c);

/* api_app.c */
void api_app_list(struct api_call *c);
void api_app_show(struct api_call *c);
void api_app_update(struct api_call *c);
void api_app_delete(struct api_call *c);
void api_app_members(struct api_call *c);
void api_app_descriptor(struct api_call *c);
void api_app_dns(struct api_call *c);
void api_app_gear_groups(struct api_call *c);
void api_app_gear_group(struct api_call *c);
void api_app_gears(struct api_call *c);

/* api_create.c */
void api_create_app(struct api_call *c);

/* api_event.c */
void api_event_app(struct api_call *c);
void api_event_cart(struct api_call *c);

/* api_history.c */
void api_history_app(struct api_call *c);

/* api_process.c */
void api_process_list(struct api_call *c);
void api_process_scale(struct api_call *c);

/* api_drain.c */
void api_drain_list(struct api_call *c);
void api_drain_add(struct api_call *c);
void api_drain_remove(struct api_call *c);

/* api_env.c */
void api_env_list(struct api_call *c);
void api_env_set(struct api_call *c);
void api_env_show(struct api_call *c);
void api_env_update(struct api_call *c);
void api_env_delete(struct api_call *c);

/* api_snapshot.c */
void api_snapshot_save(struct api_call *c);
void api_snapshot_restore(struct api_call *c);

/* api_profile.c */
void api_profile_list(struct api_call *c);
void api_profile_set(struct api_call *c);
void api_profile_remove(struct api_call *c);

/* api_backup.c */
void api_backup_show(struct api_call *c);
void api_backup_enable(struct api_call *c);
void api_backup_disable(struct api_call *c);
void api_backup_run(struct api_call *c);
void api_backup_restore(struct api_call *c);

/* api_routing.c */
void api_routing_show(struct api_call *c);
void api_routing_set(struct api_call *c);
void api_routing_change(struct api_call *c);
void api_routing_unset(struct api_call *c);
/* api_storage.c */
void api_storage_list(struct api_call *c);
void api_storage_add(struct api_call *c);
void api_storage_remove(struct api_call *c);

/* api_deployment.c */
void api_deployment_list(struct api_call *c);
void api_deployment_create(struct api_call *c);
void api_deployment_show(struct api_call *c);

/* api_exec.c */
void api_exec_app(struct api_call *c);

/* api_key.c */
void api_key_list(struct api_call *c);
void api_key_show(struct api_call *c);
void api_key_add(struct api_call *c);
void api_key_update(struct api_call *c);
void api_key_delete(struct api_call *c);

/* api_log.c */
void api_log_app(struct api_call *c);

/* api_admin.c */
void api_admin_status(struct api_call *c);
void api_traffic_show(struct api_call *c);
void api_admin_users(struct api_call *c);
void api_admin_user_update(struct api_call *c);
void api_admin_user_create(struct api_call *c);
void api_admin_user_delete(struct api_call *c);

/* api_move.c */
void api_move_gear(struct api_call *c);

/* api_alias.c */
void api_alias_list(struct api_call *c);
void api_alias_show(struct api_call *c);
void api_alias_add(struct api_call *c);
void api_alias_update(struct api_call *c);
void api_alias_remove(struct api_call *c);
