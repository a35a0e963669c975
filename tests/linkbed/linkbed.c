/*
 * One emulated line between two network namespaces, in user space.
 *
 * Each namespace gets a TUN interface. What leaves one enters the line's queue for that direction, is serialised at the
 * line's rate of that moment, may be lost on the way, travels for the one-way delay plus jitter, and comes out of the
 * other. Packets never overtake each other.
 *
 * Service times are computed, not slept: when this process wakes late, the next packet still starts where the last one
 * ended, so lateness never slows the line while its queue holds something. What the line could have carried is written
 * down per bin of 10 ms on the monotonic clock: the truth that results are held to.
 *
 *   linkbed NETNS_A NETNS_B DEVICE LOG SEED < configuration
 *
 * Configuration, one direction a block, "down" (B to A) then "up" (A to B):
 *   delay_us jitter_us loss_ppm burst_packets queue_bytes step_us steps others_bps on_us off_us
 *   then `steps` rates in bits per second, each for step_us, repeated for ever
 * A loss burst has the given mean length (1: each packet on its own); loss_ppm is the overall share lost.
 * Others send packets of OTHERS_BYTES at others_bps, for on_us on average, then pause for off_us on average. They use the
 * same queue and the same rate, and go nowhere: the namespaces' interfaces do not count them.
 *
 * The log is binary: records of struct bin, native byte order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <math.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define RING (1u << 16) /* packets in the queue and in flight together, per direction */
#define PACKET_BYTES 2048
#define BIN_NS 10000000LL
#define JITTER_KNOT_NS 20000000LL /* delay drifts between random values this far apart: radio schedulers do not flicker */
#define OTHERS_BYTES 1200
#define NEVER INT64_MAX

struct packet {
  int64_t deliver_at;
  uint16_t length;
  uint8_t lost;
  uint8_t is_others;
  uint8_t data[PACKET_BYTES];
};

struct bin { /* keep in step with tests/linkbed/truth.py */
  int64_t start_ns;
  uint64_t direction; /* 0 down, 1 up */
  double capacity_bits;
  uint64_t served_bytes;
  uint64_t lost_bytes;
  uint64_t dropped_bytes;
  uint64_t queued_bytes; /* at the end of the bin */
  int64_t wait_ns;       /* how long a packet arriving at the end of the bin would wait for its turn */
  uint64_t others_bytes; /* carried for others */
  int64_t late_ns;       /* the latest that this process came to do something in the bin */
};

struct line {
  int in, out;
  int64_t delay_ns, jitter_ns;
  double loss_start, loss_end; /* chance to enter, to leave a burst, per packet */
  int in_burst;
  uint64_t queue_limit;
  int64_t step_ns;
  uint32_t steps;
  double *rates;
  int is_dead; /* its rate is 0 for good */
  uint64_t random, salt;
  int64_t others_gap_ns, others_on_ns, others_off_ns; /* between two packets of others; means of their bursts and pauses */
  int64_t others_next, others_until;
  uint64_t others_random;

  struct packet *ring;
  uint32_t deliver, serve, tail; /* deliver <= serve <= tail, counted without wrapping */
  uint64_t queued;
  int64_t head_finish; /* when the packet at `serve` has been serialised; NEVER if there is none */
  int64_t last_deliver;
  struct bin bin;
};

static volatile sig_atomic_t ended;
static int64_t epoch;

static void on_signal(int number) { (void)number; ended = 1; }

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "linkbed: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double uniform(uint64_t *state) { /* xorshift64*: the same seed is the same line */
  uint64_t x = *state;
  x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
  *state = x;
  return (double)((x * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}

/* A number for a knot of the jitter curve, the same whenever it is asked for. */
static double knot(const struct line *line, int64_t index) {
  uint64_t x = (uint64_t)index * 0x9E3779B97F4A7C15ULL ^ line->salt;
  x ^= x >> 31, x *= 0xBF58476D1CE4E5B9ULL, x ^= x >> 27, x *= 0x94D049BB133111EBULL, x ^= x >> 31;
  return (double)(x >> 11) / 9007199254740992.0;
}

static int64_t jitter_at(const struct line *line, int64_t t) {
  if (!line->jitter_ns) return 0;
  int64_t index = (t - epoch) / JITTER_KNOT_NS;
  double part = (double)((t - epoch) % JITTER_KNOT_NS) / JITTER_KNOT_NS;
  return (int64_t)(line->jitter_ns * (knot(line, index) * (1 - part) + knot(line, index + 1) * part));
}

/* Bits the line could carry between two moments. */
static double capacity(const struct line *line, int64_t from, int64_t to) {
  double bits = 0;
  while (from < to) {
    int64_t step = (from - epoch) / line->step_ns;
    int64_t end = epoch + (step + 1) * line->step_ns;
    if (end > to) end = to;
    bits += line->rates[step % line->steps] * (double)(end - from) / 1e9;
    from = end;
  }
  return bits;
}

static int64_t finish_of(const struct line *line, int64_t start, uint32_t bytes) {
  double bits = bytes * 8.0;
  if (line->is_dead) return NEVER - 1;
  for (;;) {
    int64_t step = (start - epoch) / line->step_ns;
    double rate = line->rates[step % line->steps];
    int64_t end = epoch + (step + 1) * line->step_ns;
    double room = rate * (double)(end - start) / 1e9;
    if (room >= bits) return start + (int64_t)(bits * 1e9 / rate);
    bits -= room;
    start = end;
  }
}

static int is_lost(struct line *line) {
  if (line->loss_start <= 0) return 0;
  double dice = uniform(&line->random);
  if (line->in_burst) line->in_burst = dice >= line->loss_end;
  else line->in_burst = dice < line->loss_start;
  return line->in_burst;
}

static struct packet *at(const struct line *line, uint32_t index) { return &line->ring[index % RING]; }

static void start_service(struct line *line, int64_t start) {
  line->head_finish = line->serve == line->tail ? NEVER : finish_of(line, start, at(line, line->serve)->length);
}

static void serve(struct line *line, int64_t now) {
  while (line->head_finish <= now) {
    struct packet *packet = at(line, line->serve);
    int64_t finish = line->head_finish;
    packet->lost = packet->is_others || is_lost(line);
    packet->deliver_at = finish + line->delay_ns + jitter_at(line, finish);
    if (packet->deliver_at < line->last_deliver) packet->deliver_at = line->last_deliver;
    line->last_deliver = packet->deliver_at;
    if (packet->is_others) line->bin.others_bytes += packet->length;
    else line->bin.served_bytes += packet->length;
    if (packet->lost && !packet->is_others) line->bin.lost_bytes += packet->length;
    line->queued -= packet->length;
    line->serve++;
    start_service(line, finish);
  }
}

static void deliver(struct line *line, int64_t now) {
  while (line->deliver != line->serve && at(line, line->deliver)->deliver_at <= now) {
    struct packet *packet = at(line, line->deliver++);
    if (now - packet->deliver_at > line->bin.late_ns) line->bin.late_ns = now - packet->deliver_at;
    /* EIO: the interface is not up, as a cable that is not plugged in. */
    if (!packet->lost && write(line->out, packet->data, packet->length) < 0 && errno != EAGAIN && errno != EIO)
      die("write to TUN");
  }
}

/* A length of time around `mean`, as if its end did not know its beginning. */
static int64_t drawn_ns(struct line *line, int64_t mean) {
  return mean ? 1 + (int64_t)(-log(1 - uniform(&line->others_random)) * (double)mean) : 0;
}

static int enqueue(struct line *line, uint32_t length, int is_others, int64_t now) {
  if (line->tail - line->deliver >= RING || line->queued + length > line->queue_limit) return 0;
  struct packet *packet = at(line, line->tail);
  packet->length = (uint16_t)length;
  packet->is_others = (uint8_t)is_others;
  line->queued += length;
  line->tail++;
  if (line->head_finish == NEVER) start_service(line, now);
  return 1;
}

static void take_others(struct line *line, int64_t now) {
  while (line->others_next <= now) {
    serve(line, line->others_next);
    enqueue(line, OTHERS_BYTES, 1, line->others_next);
    line->others_next += line->others_gap_ns;
    if (line->others_off_ns && line->others_next > line->others_until) {
      line->others_next = line->others_until + drawn_ns(line, line->others_off_ns);
      line->others_until = line->others_next + drawn_ns(line, line->others_on_ns);
    }
  }
}

static void take(struct line *line) {
  for (int i = 0; i < 64; i++) { /* then the other direction has its turn */
    static uint8_t waste[PACKET_BYTES];
    take_others(line, now_ns()); /* before this packet, which is read straight into the next place of the ring */
    int full = line->tail - line->deliver >= RING;
    uint8_t *space = full ? waste : at(line, line->tail)->data;
    ssize_t length = read(line->in, space, PACKET_BYTES);
    if (length < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      die("read from TUN");
    }
    int64_t now = now_ns();
    serve(line, now);
    if (full || !enqueue(line, (uint32_t)length, 0, now)) line->bin.dropped_bytes += (uint64_t)length;
  }
}

static void close_bins(struct line *line, int64_t now, FILE *log) {
  while (line->bin.start_ns + BIN_NS <= now) {
    struct bin *bin = &line->bin;
    int64_t end = bin->start_ns + BIN_NS;
    bin->capacity_bits = capacity(line, bin->start_ns, end);
    bin->queued_bytes = line->queued;
    bin->wait_ns = line->queued ? finish_of(line, end, (uint32_t)line->queued) - end : 0;
    if (fwrite(bin, sizeof *bin, 1, log) != 1) die("write of the log");
    uint64_t direction = bin->direction;
    memset(bin, 0, sizeof *bin);
    bin->start_ns = end;
    bin->direction = direction;
  }
}

static int64_t next_event(const struct line *line) {
  int64_t next = line->head_finish;
  if (line->deliver != line->serve && at(line, line->deliver)->deliver_at < next) next = at(line, line->deliver)->deliver_at;
  if (line->others_next < next) next = line->others_next;
  if (line->bin.start_ns + BIN_NS < next) next = line->bin.start_ns + BIN_NS;
  return next;
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

static void configure(struct line *line, uint64_t direction, uint64_t seed) {
  double loss_ppm, burst, others_bps;
  long long delay_us, jitter_us, queue, step_us, on_us, off_us;
  if (scanf("%lld %lld %lf %lf %lld %lld %u %lf %lld %lld", &delay_us, &jitter_us, &loss_ppm, &burst, &queue, &step_us,
            &line->steps, &others_bps, &on_us, &off_us) != 10 ||
      others_bps < 0 || on_us < 0 || off_us < 0 ||
      delay_us < 0 || jitter_us < 0 || loss_ppm < 0 || loss_ppm >= 1e6 || burst < 1 || queue < 1 || step_us < 1 || !line->steps) {
    fprintf(stderr, "linkbed: a direction is not configured as the head of linkbed.c says\n");
    exit(2);
  }
  line->delay_ns = delay_us * 1000, line->jitter_ns = jitter_us * 1000;
  line->queue_limit = (uint64_t)queue, line->step_ns = step_us * 1000;
  double share = loss_ppm / 1e6;
  line->loss_end = 1 / burst;
  line->loss_start = burst > 1 ? share / (burst * (1 - share)) : share;
  if (burst <= 1) line->loss_end = 1 - share; /* independent: the next one is lost as likely as any */
  line->rates = calloc(line->steps, sizeof *line->rates);
  line->ring = mmap(NULL, RING * sizeof *line->ring, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (!line->rates || line->ring == MAP_FAILED) die("memory");
  line->is_dead = 1;
  for (uint32_t i = 0; i < line->steps; i++) {
    if (scanf("%lf", &line->rates[i]) != 1 || line->rates[i] < 0) {
      fprintf(stderr, "linkbed: rate %u is missing or below 0\n", i);
      exit(2);
    }
    if (line->rates[i] > 0) line->is_dead = 0;
  }
  line->random = (seed * 2 + direction) * 0x9E3779B97F4A7C15ULL + 0x1234567ULL;
  for (int i = 0; i < 8; i++) uniform(&line->random);
  line->salt = line->random;
  line->others_random = line->random ^ 0x5DEECE66DULL; /* of its own: what others do must not move the dice of loss */
  line->others_gap_ns = others_bps > 0 ? (int64_t)(OTHERS_BYTES * 8e9 / others_bps) : NEVER;
  line->others_on_ns = on_us * 1000, line->others_off_ns = off_us * 1000;
  line->others_next = NEVER;
  line->head_finish = NEVER;
  line->bin.direction = direction;
}

int main(int count, char **words) {
  static struct line lines[2]; /* down: B to A; up: A to B */
  if (count != 6) {
    fprintf(stderr, "usage: linkbed NETNS_A NETNS_B DEVICE LOG SEED < configuration\n");
    return 2;
  }
  FILE *log = fopen(words[4], "wb");
  if (!log) die(words[4]);
  int a = open_tun(words[1], words[3]), b = open_tun(words[2], words[3]);
  for (uint64_t i = 0; i < 2; i++) configure(&lines[i], i, strtoull(words[5], NULL, 10));
  lines[0].in = lines[1].out = b;
  lines[1].in = lines[0].out = a;

  struct sched_param first = {.sched_priority = 10}; /* a line does not wait for programs; without the right, try anyway */
  sched_setscheduler(0, SCHED_FIFO, &first);
  prctl(PR_SET_TIMERSLACK, 1);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);

  epoch = now_ns() / BIN_NS * BIN_NS;
  lines[0].bin.start_ns = lines[1].bin.start_ns = epoch;
  for (int i = 0; i < 2; i++) {
    if (lines[i].others_gap_ns == NEVER) continue;
    lines[i].others_next = epoch;
    lines[i].others_until = epoch + drawn_ns(&lines[i], lines[i].others_on_ns);
  }
  printf("ready %lld\n", (long long)epoch);
  fflush(stdout);
  int64_t flushed = epoch;
  while (!ended) {
    int64_t now = now_ns(), next = NEVER;
    for (int i = 0; i < 2; i++) {
      take_others(&lines[i], now);
      serve(&lines[i], now);
      deliver(&lines[i], now);
      close_bins(&lines[i], now, log);
      int64_t event = next_event(&lines[i]);
      if (event < next) next = event;
    }
    if (now - flushed > 100000000LL) fflush(log), flushed = now;
    int64_t wait = next - now_ns();
    if (wait < 0) wait = 0;
    struct timespec timeout = {.tv_sec = wait / 1000000000LL, .tv_nsec = wait % 1000000000LL};
    struct pollfd files[2] = {{.fd = lines[0].in, .events = POLLIN}, {.fd = lines[1].in, .events = POLLIN}};
    if (ppoll(files, 2, &timeout, NULL) < 0 && errno != EINTR) die("ppoll");
    for (int i = 0; i < 2; i++)
      if (files[i].revents & POLLIN) take(&lines[i]);
  }
  fclose(log);
  return 0;
}
