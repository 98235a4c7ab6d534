/* File descriptors of the process: how many it may have, which of them children get, and sockets that came with it. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stdint.h>

/* The first descriptor that socket activation hands over, by its protocol. */
#define DESCRIPTORS_FIRST 3

/* Marks every descriptor from DESCRIPTORS_FIRST on close-on-exec: whatever started us left it open for us at the most. */
void descriptors_close_on_exec(void);

/* Raises the soft limit to the hard one; returns what it is now. */
uint64_t descriptors_raise_limit(void);

/* Gives the child `pid` the soft limit that we were started with: programs that use select() rely on it. */
void descriptors_restore_limit(int pid);

/* How many listening sockets a service manager handed over, from DESCRIPTORS_FIRST on (sd_listen_fds(3)); 0 when there are
 * none or they are meant for another process. The variables that say so are taken out of the environment. */
int descriptors_listening(void);

#endif
