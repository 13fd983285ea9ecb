#pragma once
/* What the tests of koboshi-vm start from: a folder of their own, libvirt's test driver, the guests' ranges. */
#include "conf/conf.h"

/* `folder`: a template of mkdtemp(), filled in. `run` is made, `state` is not. 0, or -1. */
int place_make(char *folder, struct conf *conf);
int place_remove(const char *folder);
