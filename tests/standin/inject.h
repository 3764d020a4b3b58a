/* What the stand-ins share: faults on request. STANDIN_FAIL holds NAME=CODE pairs, as cuda.c says. */
#ifndef STANDIN_INJECT_H
#define STANDIN_INJECT_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The GPU that was dealt with last. */
static int busy = 0;

/* What STANDIN_FAIL gives for a call: its code, else success; or what it does in place of answering. */
static int injected(const char *call) {
    const char *at = getenv("STANDIN_FAIL");
    size_t length = strlen(call);
    while (at && *at) {
        const char *value = 0;
        if (!strncmp(at, call, length)) {
            char *end = (char *)at + length;
            if (*end == '=') value = end + 1;
            if (*end == '@' && strtol(end + 1, &end, 10) == busy && *end == '=') value = end + 1;
        }
        if (value) {
            if (!strncmp(value, "hang", 4)) for (;;) sleep(100);
            if (!strncmp(value, "crash", 5)) *(volatile int *)0 = 1;
            if (!strncmp(value, "exit", 4)) _exit(9);
            if (!strncmp(value, "garbage", 7)) {
                for (int i = 0; i < 100000; i++) printf("@@cargo-gpu-doctor@@ {\"part\":{\"failed\":%d}}\n", i);
                printf("no end of line");
                fflush(stdout);
                return 0;
            }
            char *unit;
            long wanted = strtol(value, &unit, 10);
            if (!strncmp(unit, "ms", 2)) {
                usleep((useconds_t)wanted * 1000);
                return 0;
            }
            if (!strncmp(unit, "busy", 4)) {
                struct timespec begin, now;
                clock_gettime(CLOCK_MONOTONIC, &begin);
                do clock_gettime(CLOCK_MONOTONIC, &now);
                while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < wanted);
                return 0;
            }
            return (int)wanted;
        }
        at = strchr(at, ',');
        if (at) at++;
    }
    return 0;
}
#define GIVE(call) do { int code_ = injected(call); if (code_) return code_; } while (0)

#endif
