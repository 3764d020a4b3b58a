/*
 * A library with bad manners, for tests of the child process: what it does when it is opened, RUDE says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void opened(void) {
    const char *how = getenv("RUDE");
    if (!how) return;
    if (!strcmp(how, "crash")) *(volatile int *)0 = 1;
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "exit")) { fprintf(stderr, "no licence for you\n"); _exit(7); }
    if (!strcmp(how, "hang")) for (;;) sleep(100);
    if (!strcmp(how, "garbage")) { printf("@@cargo-gpu-doctor@@ {\"refused\":\"forged\"}\nno end of line"); fflush(stdout); }
    if (!strcmp(how, "flood")) for (int i = 0; i < 300000; i++) printf("a line that nobody asked for, number %d\n", i);
    if (!strcmp(how, "child")) { if (!fork()) for (;;) sleep(100); }
}

/* One that crashes when the process ends in the ordinary way. */
__attribute__((destructor)) static void closed(void) { abort(); }
