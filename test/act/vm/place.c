/* See place.h. */
#include "place.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int place_make(char *folder, struct conf *conf)
{
	if (!mkdtemp(folder))
		return -1;
	strcpy(conf->libvirt, "test:///default");
	snprintf(conf->run_dir, sizeof(conf->run_dir), "%s/run", folder);
	snprintf(conf->state_dir, sizeof(conf->state_dir), "%s/state", folder);
	inet_pton(AF_INET, "198.51.100.0", &conf->guests4.address);
	conf->guests4.prefix = 24;
	inet_pton(AF_INET6, "2001:db8:1::", &conf->guests6.address);
	conf->guests6.prefix = 64;
	return mkdir(conf->run_dir, 0700);
}

int place_remove(const char *folder)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}
