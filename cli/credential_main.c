/* pinion-git-credential get|store|erase: git runs it twice in every push, so it is a program of its
 * own that links neither libcurl nor what that brings along. */
#include <stdio.h>

#include "cli/credential.h"

int
main(int argc, char **argv)
{
	struct err e = { 0 };

	if (argc != 2) {
		(void)fputs("usage: pinion-git-credential get|store|erase\n", stderr);
		return 2;
	}
	if (credential_answer(argv[1], stdin, stdout, &e) == 0)
		return 0;
	(void)fprintf(stderr, "pinion: %s%s%s\n", e.field, e.field[0] == '\0' ? "" : ": ", e.text);
	return err_exit_code(e.code);
}
