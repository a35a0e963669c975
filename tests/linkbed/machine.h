/* What the emulator wants of the machine it runs on. Included by linkbed.c alone, which defines _GNU_SOURCE. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what) {
  fprintf(stderr, "linkbed: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A line does not wait for programs. Without the right to go first, try anyway. */
static void go_first(void) {
  struct sched_param first = {.sched_priority = 10};
  sched_setscheduler(0, SCHED_FIFO, &first);
  prctl(PR_SET_TIMERSLACK, 1);
}

static int open_tun(const char *netns, const char *device) {
  int space = open(netns, O_RDONLY | O_CLOEXEC);
  if (space < 0) die(netns);
  if (setns(space, CLONE_NEWNET) < 0) die("setns (this needs root)");
  close(space);
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tun < 0) die("/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  snprintf(request.ifr_name, IFNAMSIZ, "%s", device);
  if (ioctl(tun, TUNSETIFF, &request) < 0) die("TUNSETIFF");
  return tun;
}
