#pragma once
/* A test that cannot be had here says why; `test/run` tells it. After cmocka.h. */
#define skip_for(reason)                                                                                                         \
	do {                                                                                                                     \
		print_message("skipped: %s\n", reason);                                                                          \
		skip();                                                                                                          \
	} while (0)
