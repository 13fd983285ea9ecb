#pragma once
/* Becomes two processes: the caller goes on as the child; the parent only reaps, and ends as the child ends. */

/* Returns in the child. The parent never returns. */
void reaper_split(void);
