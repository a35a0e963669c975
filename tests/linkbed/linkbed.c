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
 * Other people may be on the line (others.h): their packets are made here, at computed moments, and share its queue and
 * rate with what comes from the namespaces. TCP and UDP from or to port OTHERS_PORT counts as theirs too.
 *
 * A direction may have an allowance, as lines with a "boost": a bucket of bytes, full at first, refilled at the sustained
 * rate. While it holds something the line sends at its peak rate, then at the sustained one.
 *
 *   linkbed NETNS_A NETNS_B DEVICE LOG SEED < configuration
 *
 * Configuration, one direction a block, "down" (B to A) then "up" (A to B):
 *   delay_us jitter_us loss_ppm burst_packets queue_bytes step_us steps peak_bps allowance_bytes sources
 *   then `steps` rates in bits per second, each for step_us, repeated for ever
 *   then `sources` lines about others: mean_bps peak_bps burst_us packet_bytes seen
 * A loss burst has the given mean length (1: each packet on its own); loss_ppm is the overall share lost. An allowance
 * (peak_bps above 0) needs a single rate. burst_us 0 is a constant rate. seen 1: the packets come out of the line.
 *
 * The log is binary: records of struct bin, native byte order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "machine.h"
#include "others.h"

#define RING (1u << 16) /* packets in the queue and in flight together, per direction */
#define PACKET_BYTES 2048
#define BIN_NS 10000000LL
#define JITTER_KNOT_NS 20000000LL /* delay drifts between random values this far apart: radio schedulers do not flicker */
#define NEVER INT64_MAX

enum whose {
  TESTED,
  OTHERS,    /* from a namespace, known by OTHERS_PORT */
  MADE,      /* here; takes queue and time, and comes out nowhere */
  MADE_SEEN, /* here; comes out of the line */
};

struct packet {
  int64_t deliver_at;
  uint16_t length;
  uint8_t lost;
  uint8_t whose; /* enum whose */
  uint8_t data[PACKET_BYTES];
};

struct bin { /* keep in step with tests/linkbed/truth.py */
  int64_t start_ns;
  uint64_t direction; /* 0 down, 1 up */
  double capacity_bits;   /* at the sustained rate */
  uint64_t served_bytes;  /* these three: the tested hosts' */
  uint64_t lost_bytes;
  uint64_t dropped_bytes;
  uint64_t queued_bytes;  /* everybody's, at the end of the bin */
  int64_t wait_ns;        /* how long a packet arriving at the end of the bin would wait for its turn */
  int64_t late_ns;        /* the latest that this process came to do something in the bin */
  double peak_bits;       /* with all the allowance it could wish for; without one as capacity_bits */
  double allowance_bytes; /* at the start of the bin */
  double others_bytes;    /* put through; a packet that spans bins counts in each for its time in it */
  uint64_t others_dropped_bytes;
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
  double peak, bucket_bits, allowance_bits; /* peak 0: no allowance. allowance_bits: what was left at `allowance_at` */
  int64_t allowance_at;
  double allowance_after; /* once the packet in service is through */
  uint32_t source_count;
  struct source *sources;

  struct packet *ring;
  uint32_t deliver, serve, tail; /* deliver <= serve <= tail, counted without wrapping */
  uint64_t queued;
  uint32_t awaited;    /* packets in the queue that come out somewhere */
  int64_t head_start;  /* since when the packet at `serve` is being serialised */
  int64_t head_finish; /* when it is through; NEVER if there is none */
  int64_t last_deliver;
  struct bin bin;
};

static volatile sig_atomic_t ended;
static int64_t epoch;
static FILE *logfile;

static void on_signal(int number) { (void)number; ended = 1; }

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

static int64_t finish_of(const struct line *line, int64_t start, double bits) {
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

/* What is left of the allowance at `t`, in bits, if the packet in service at `allowance_at`, or the idleness, lasted. */
static double allowance(const struct line *line, int64_t t) {
  double seconds = (double)(t - line->allowance_at) / 1e9, rate = line->rates[0];
  if (!line->peak) return 0;
  if (line->head_finish != NEVER) return fmax(0, line->allowance_bits - (line->peak - rate) * seconds);
  return fmin(line->bucket_bits, line->allowance_bits + rate * seconds);
}

/* When `bits` that start at `start` are through, and what they leave of `*left`. It refills while they are sent. */
static int64_t transmit(const struct line *line, int64_t start, double bits, double *left) {
  if (!line->peak) return finish_of(line, start, bits);
  double rate = line->rates[0], spent_share = 1 - rate / line->peak;
  double fast = fmin(bits, *left / spent_share);
  *left = fmax(0, *left - fast * spent_share);
  return start + (int64_t)((fast / line->peak + (bits - fast) / rate) * 1e9);
}

static void start_service(struct line *line, int64_t start) { /* called with nothing in service */
  if (line->serve == line->tail) return;
  line->allowance_after = line->allowance_bits = allowance(line, start);
  line->allowance_at = line->head_start = start;
  line->head_finish = transmit(line, start, at(line, line->serve)->length * 8.0, &line->allowance_after);
}

/* The bytes of the packet in service that are sent between two moments. */
static double sent_bytes(const struct line *line, int64_t from, int64_t to) {
  if (from < line->head_start) from = line->head_start;
  return at(line, line->serve)->length * ((double)(to - from) / (double)(line->head_finish - line->head_start));
}

static void close_bins(struct line *line, int64_t now) {
  while (line->bin.start_ns + BIN_NS <= now) {
    struct bin *bin = &line->bin;
    int64_t end = bin->start_ns + BIN_NS;
    double left = allowance(line, end);
    struct bin next = {.start_ns = end, .direction = bin->direction, .allowance_bytes = left / 8};
    bin->capacity_bits = capacity(line, bin->start_ns, end);
    bin->peak_bits = line->peak ? line->peak * BIN_NS / 1e9 : bin->capacity_bits;
    bin->queued_bytes = line->queued;
    bin->wait_ns = line->queued ? transmit(line, end, line->queued * 8.0, &left) - end : 0;
    if (line->head_finish != NEVER && at(line, line->serve)->whose != TESTED)
      bin->others_bytes += sent_bytes(line, bin->start_ns, end);
    if (fwrite(bin, sizeof *bin, 1, logfile) != 1) die("write of the log");
    *bin = next;
  }
}

static void finish_head(struct line *line) {
  struct packet *packet = at(line, line->serve);
  int64_t finish = line->head_finish;
  /* What is made here throws no dice: which tested packets are lost must not depend on how many came in between. */
  packet->lost = packet->whose < MADE && is_lost(line);
  packet->deliver_at = finish + line->delay_ns + jitter_at(line, finish);
  if (packet->deliver_at < line->last_deliver) packet->deliver_at = line->last_deliver;
  line->last_deliver = packet->deliver_at;
  if (packet->whose == TESTED) {
    line->bin.served_bytes += packet->length;
    if (packet->lost) line->bin.lost_bytes += packet->length;
  } else {
    line->bin.others_bytes += sent_bytes(line, line->bin.start_ns, finish);
  }
  line->queued -= packet->length;
  if (packet->whose != MADE) line->awaited--;
  line->serve++;
  line->allowance_bits = line->allowance_after, line->allowance_at = finish;
  line->head_finish = NEVER;
  start_service(line, finish);
}

static void count_dropped(struct line *line, enum whose whose, uint64_t length) {
  if (whose == TESTED) line->bin.dropped_bytes += length;
  else line->bin.others_dropped_bytes += length;
}

static int is_full(const struct line *line, uint64_t length) {
  return line->tail - line->deliver >= RING || line->queued + length > line->queue_limit;
}

/* Take the packet whose bytes are at `tail` into the queue. */
static void join(struct line *line, int64_t now, enum whose whose, uint16_t length) {
  struct packet *packet = at(line, line->tail);
  packet->length = length;
  packet->whose = (uint8_t)whose;
  line->queued += length;
  line->tail++;
  if (whose != MADE) line->awaited++;
  if (line->head_finish == NEVER) start_service(line, now);
}

static void arrive(struct line *line, struct source *source) {
  int64_t now = epoch + (int64_t)source->next_ns;
  enum whose whose = source->seen ? MADE_SEEN : MADE;
  if (is_full(line, source->packet_bytes)) {
    count_dropped(line, whose, source->packet_bytes);
  } else {
    if (source->seen) write_headers(at(line, line->tail)->data, source->packet_bytes);
    join(line, now, whose, source->packet_bytes);
  }
  plan_next(source);
}

/* Bring the line to `now`: whatever happened since, in the order it happened, each in its bin. */
static void advance(struct line *line, int64_t now) {
  for (;;) {
    struct source *source = first_of(line->sources, line->source_count);
    int64_t arrival = source ? epoch + (int64_t)source->next_ns : NEVER;
    int64_t event = arrival < line->head_finish ? arrival : line->head_finish;
    if (event > now) break;
    close_bins(line, event);
    if (line->head_finish <= arrival) finish_head(line);
    else arrive(line, source);
  }
  close_bins(line, now);
}

static void deliver(struct line *line, int64_t now) {
  while (line->deliver != line->serve) {
    struct packet *packet = at(line, line->deliver);
    if (packet->whose != MADE) {
      if (packet->deliver_at > now) return;
      if (now - packet->deliver_at > line->bin.late_ns) line->bin.late_ns = now - packet->deliver_at;
      /* EIO: the interface is not up, as a cable that is not plugged in. */
      if (!packet->lost && write(line->out, packet->data, packet->length) < 0 && errno != EAGAIN && errno != EIO)
        die("write to TUN");
    }
    line->deliver++;
  }
}

static void take(struct line *line) {
  static uint8_t data[PACKET_BYTES];
  for (int i = 0; i < 64; i++) { /* then the other direction has its turn */
    ssize_t length = read(line->in, data, PACKET_BYTES);
    if (length < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      die("read from TUN");
    }
    enum whose whose = is_of_others(data, (size_t)length) ? OTHERS : TESTED;
    int64_t now = now_ns();
    advance(line, now);
    if (is_full(line, (uint64_t)length)) {
      count_dropped(line, whose, (uint64_t)length);
      continue;
    }
    memcpy(at(line, line->tail)->data, data, (size_t)length);
    join(line, now, whose, (uint16_t)length);
  }
}

static int64_t next_event(const struct line *line) {
  int64_t next = line->awaited ? line->head_finish : NEVER; /* what comes out nowhere can wait for whatever is next */
  if (line->deliver != line->serve && at(line, line->deliver)->deliver_at < next) next = at(line, line->deliver)->deliver_at;
  if (line->bin.start_ns + BIN_NS < next) next = line->bin.start_ns + BIN_NS;
  return next;
}

static void configure(struct line *line, uint64_t direction, uint64_t seed) {
  double loss_ppm, burst, allowance_bytes;
  long long delay_us, jitter_us, queue, step_us;
  if (scanf("%lld %lld %lf %lf %lld %lld %u %lf %lf %u", &delay_us, &jitter_us, &loss_ppm, &burst, &queue, &step_us,
            &line->steps, &line->peak, &allowance_bytes, &line->source_count) != 10 ||
      delay_us < 0 || jitter_us < 0 || loss_ppm < 0 || loss_ppm >= 1e6 || burst < 1 || queue < 1 || step_us < 1 ||
      !line->steps || (line->peak && (line->steps != 1 || allowance_bytes < 0))) {
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
  line->sources = calloc(line->source_count + 1, sizeof *line->sources);
  line->ring = mmap(NULL, RING * sizeof *line->ring, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (!line->rates || !line->sources || line->ring == MAP_FAILED) die("memory");
  line->is_dead = 1;
  for (uint32_t i = 0; i < line->steps; i++) {
    if (scanf("%lf", &line->rates[i]) != 1 || line->rates[i] < 0) {
      fprintf(stderr, "linkbed: rate %u is missing or below 0\n", i);
      exit(2);
    }
    if (line->rates[i] > 0) line->is_dead = 0;
  }
  if (line->peak && (line->rates[0] <= 0 || line->peak <= line->rates[0])) {
    fprintf(stderr, "linkbed: the peak rate of a line with an allowance is above its sustained rate, and that above 0\n");
    exit(2);
  }
  line->random = seeded(seed * 2 + direction);
  line->salt = line->random;
  for (uint32_t i = 0; i < line->source_count; i++) {
    if (read_source(&line->sources[i], seeded((seed * 2 + direction) * 1000 + i + 1))) continue;
    fprintf(stderr, "linkbed: source %u of others' traffic is not as the head of linkbed.c says\n", i);
    exit(2);
  }
  line->head_finish = NEVER;
  line->bin.direction = direction;
  line->allowance_bits = line->bucket_bits = allowance_bytes * 8;
  line->bin.allowance_bytes = allowance_bytes;
}

int main(int count, char **words) {
  static struct line lines[2]; /* down: B to A; up: A to B */
  if (count != 6) {
    fprintf(stderr, "usage: linkbed NETNS_A NETNS_B DEVICE LOG SEED < configuration\n");
    return 2;
  }
  logfile = fopen(words[4], "wb");
  if (!logfile) die(words[4]);
  int a = open_tun(words[1], words[3]), b = open_tun(words[2], words[3]);
  for (uint64_t i = 0; i < 2; i++) configure(&lines[i], i, strtoull(words[5], NULL, 10));
  lines[0].in = lines[1].out = b;
  lines[1].in = lines[0].out = a;

  go_first();
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);

  epoch = now_ns() / BIN_NS * BIN_NS;
  for (int i = 0; i < 2; i++) lines[i].bin.start_ns = lines[i].allowance_at = epoch;
  printf("ready %lld\n", (long long)epoch);
  fflush(stdout);
  int64_t flushed = epoch;
  while (!ended) {
    int64_t now = now_ns(), next = NEVER;
    for (int i = 0; i < 2; i++) {
      advance(&lines[i], now);
      deliver(&lines[i], now);
      int64_t event = next_event(&lines[i]);
      if (event < next) next = event;
    }
    if (now - flushed > 100000000LL) fflush(logfile), flushed = now;
    int64_t wait = next - now_ns();
    if (wait < 0) wait = 0;
    struct timespec timeout = {.tv_sec = wait / 1000000000LL, .tv_nsec = wait % 1000000000LL};
    struct pollfd files[2] = {{.fd = lines[0].in, .events = POLLIN}, {.fd = lines[1].in, .events = POLLIN}};
    if (ppoll(files, 2, &timeout, NULL) < 0 && errno != EINTR) die("ppoll");
    for (int i = 0; i < 2; i++)
      if (files[i].revents & POLLIN) take(&lines[i]);
  }
  fclose(logfile);
  return 0;
}
