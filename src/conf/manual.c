/* Prints the configuration's key list for the manual; run while building, not installed. */
#include "conf/schema.h"

int main(void)
{
	conf_print_manual(stdout);
	return ferror(stdout) || fflush(stdout) != 0;
}
