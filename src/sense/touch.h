#pragma once
/* What a touch was, in one sentence: "spoke to 198.51.100.77 port 22 (TCP), where nobody is". Pure. */
#include "sense/nflog.h"

#define TOUCH_MAX 128

void touch_text(const struct nflog_asked *asked, char ret_text[static TOUCH_MAX]);
