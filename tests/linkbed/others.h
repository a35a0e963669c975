/*
 * Other people on the line: when their packets come, what those look like to a router, and which packets from the
 * namespaces are theirs. Included by linkbed.c alone.
 */
#include <math.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define OTHERS_PORT 8479 /* keep in step with tests/linkbed/bed.py */
#define LEAST_BYTES 28   /* IPv4 and UDP */
#define MOST_BYTES 1500

struct source {
  double peak_bps, burst_ns, pause_ns; /* burst_ns: mean length of a burst, 0: no pauses; pause_ns: of the pauses */
  uint16_t packet_bytes;
  int seen;
  uint64_t random;
  double next_ns; /* when the next packet comes, since the epoch */
  double burst_end_ns;
};

static double uniform(uint64_t *state) { /* xorshift64*: the same seed is the same line */
  uint64_t x = *state;
  x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
  *state = x;
  return (double)((x * 2685821657736338717ULL) >> 11) / 9007199254740992.0;
}

static uint64_t seeded(uint64_t seed) {
  uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 0x1234567ULL;
  for (int i = 0; i < 8; i++) uniform(&state);
  return state;
}

static double exponential(uint64_t *state, double mean) { return -mean * log(1 - uniform(state)); }

/* Let a source send for `active_ns`, pauses not counted: the next packet comes then. */
static void go_on(struct source *source, double active_ns) {
  while (source->burst_ns && active_ns > source->burst_end_ns - source->next_ns) {
    active_ns -= source->burst_end_ns - source->next_ns;
    source->next_ns = source->burst_end_ns + exponential(&source->random, source->pause_ns);
    source->burst_end_ns = source->next_ns + exponential(&source->random, source->burst_ns);
  }
  source->next_ns += active_ns;
}

static void plan_next(struct source *source) { go_on(source, source->packet_bytes * 8e9 / source->peak_bps); }

/* Read a source's line of the configuration. Returns whether it was one. */
static int read_source(struct source *source, uint64_t random) {
  double mean_bps, burst_us;
  unsigned bytes;
  if (scanf("%lf %lf %lf %u %d", &mean_bps, &source->peak_bps, &burst_us, &bytes, &source->seen) != 5) return 0;
  if (mean_bps <= 0 || source->peak_bps < mean_bps || burst_us < 0 || bytes < LEAST_BYTES || bytes > MOST_BYTES) return 0;
  if (!burst_us) source->peak_bps = mean_bps;
  source->packet_bytes = (uint16_t)bytes;
  source->random = random;
  source->burst_ns = burst_us * 1e3;
  source->pause_ns = source->burst_ns * (source->peak_bps / mean_bps - 1);
  if (!source->pause_ns) source->burst_ns = 0;
  /* It has been at it for ever: in a burst as often as not, and at any moment between two packets. */
  int is_in_burst = uniform(&source->random) < mean_bps / source->peak_bps;
  source->burst_end_ns = source->burst_ns && is_in_burst ? exponential(&source->random, source->burst_ns) : 0;
  go_on(source, uniform(&source->random) * bytes * 8e9 / source->peak_bps);
  return 1;
}

static struct source *first_of(struct source *sources, uint32_t count) {
  struct source *first = count ? sources : NULL;
  for (uint32_t i = 1; i < count; i++)
    if (sources[i].next_ns < first->next_ns) first = &sources[i];
  return first;
}

/* An IPv4 and UDP header, for a machine behind the one at the line's end, which counts the packet and drops it. */
static void write_headers(uint8_t *data, uint16_t bytes) {
  static const uint8_t from[4] = {198, 18, 0, 3}, to[4] = {198, 18, 1, 1};
  uint16_t payload = (uint16_t)(bytes - 20);
  uint32_t sum = 0;
  memset(data, 0, LEAST_BYTES);
  data[0] = 0x45, data[2] = (uint8_t)(bytes >> 8), data[3] = (uint8_t)bytes, data[8] = 64, data[9] = IPPROTO_UDP;
  memcpy(data + 12, from, 4), memcpy(data + 16, to, 4);
  for (int i = 0; i < 20; i += 2) sum += (uint32_t)(data[i] << 8 | data[i + 1]);
  sum = (sum & 0xFFFF) + (sum >> 16), sum = ~((sum & 0xFFFF) + (sum >> 16));
  data[10] = (uint8_t)(sum >> 8), data[11] = (uint8_t)sum;
  data[20] = data[22] = OTHERS_PORT >> 8, data[21] = data[23] = OTHERS_PORT & 0xFF;
  data[24] = (uint8_t)(payload >> 8), data[25] = (uint8_t)payload; /* checksum 0: not made, as UDP allows */
}

/* Say whether a packet from a namespace is TCP or UDP from or to OTHERS_PORT. */
static int is_of_others(const uint8_t *data, size_t length) {
  size_t header = (size_t)(data[0] & 0x0F) * 4;
  if (length < header + 4 || data[0] >> 4 != 4 || (data[9] != IPPROTO_TCP && data[9] != IPPROTO_UDP)) return 0;
  const uint8_t *ports = data + header;
  return (ports[0] << 8 | ports[1]) == OTHERS_PORT || (ports[2] << 8 | ports[3]) == OTHERS_PORT;
}
