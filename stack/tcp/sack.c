/* sack.c: the scoreboard: what is in flight, and what is known about it
 * (RFC 2018, RFC 6675 section 3, RFC 8985 section 6.1).
 *
 * Theory of operation
 *
 * A sorted array of stretches that covers [snd_una, snd_nxt) without a gap. A
 * stretch is what was sent at one time and has one fate so far: when it was sent
 * last, whether the peer has reported it (SACKED), whether we think it lost
 * (LOST), whether it was sent more than once (AGAIN). A superframe is one
 * stretch; a SACK block that covers a part of it splits it. Neighbours that do
 * not differ are joined. So the array is short when nothing is amiss, and no
 * question needs a mark for each segment.
 *
 * It is allocated with the first byte in flight and freed with the last, and
 * costs an idle connection nothing. What is acknowledged is dropped at the front
 * by counting (`gone`), and the array moved down now and then.
 *
 * The array is bounded. Where there is no room for another stretch, new data is
 * booked with the last one, as if sent at the later time, and a SACK block that
 * would split is believed as far as it covers whole stretches. What is not
 * remembered is merely sent again. Without memory even for the first stretch
 * there is no board; then recovery.c lives with snd_una alone.
 *
 * The scoreboard is advice (RFC 2018 section 8): data leaves the send buffer
 * only when snd_una passes it. A peer that takes back what it reported is found
 * out when a time-out strikes while the first stretch is SACKED, which an honest
 * one would have acknowledged; then the reports are forgotten.
 */
#include "stack/tcp/board.h"

#define BOARD_FIRST 16
#define BOARD_MAX 4096

/* Bytes of a board with room for cap stretches. */
static size_t board_size(uint32_t cap) {
    return sizeof(struct tcp_board) + cap * sizeof(struct tcp_sent);
}

/* Nothing is in flight, or nothing is known of it. */
void tcp_board_free(struct stack *st, struct tcp_sock *tp) {
    if (!tp->board)
        return;
    mem_free(st, tp->board, board_size(tp->board->cap));
    tp->board = NULL;
}

/* Move the array down over what is acknowledged. */
static void close_up(struct tcp_board *b) {
    b->n -= b->gone;
    memmove(&b->r[0], &b->r[b->gone], b->n * sizeof(b->r[0]));
    b->gone = 0;
}

/* Room for one more stretch. False: no memory, or too many. */
static bool board_grow(struct stack *st, struct tcp_sock *tp) {
    struct tcp_board *old = tp->board;
    if (old && old->n < old->cap)
        return true;
    if (old && old->gone > old->cap / 4) {
        close_up(old);
        return true;
    }
    uint32_t cap = old ? old->cap * 2 : BOARD_FIRST;
    if (cap > BOARD_MAX)
        return false;
    struct tcp_board *b = mem_alloc(st, board_size(cap));
    if (!b)
        return false;
    if (old)
        memcpy(b, old, board_size(old->n));
    b->cap = cap;
    tcp_board_free(st, tp);
    tp->board = b;
    return true;
}

/* Wire segments of so many bytes. */
static uint16_t segments(const struct tcp_sock *tp, uint32_t bytes) {
    uint32_t mss = tcp_smss(tp), n = (bytes + mss - 1) / mss;
    return (uint16_t)min_u32(n, UINT16_MAX);
}

/* A board where there was none. What is in flight without one is an unknown, and
 * lost if recovery has said so of everything. */
static void begin(struct tcp_sock *tp, uint32_t now) {
    struct tcp_board *b = tp->board;
    b->start = b->fack = tp->snd_una;
    b->delivered_us = b->first_us = now;
    if (tp->snd_una == tp->snd_nxt)
        return;
    b->r[b->n++] = (struct tcp_sent){.end = tp->snd_nxt,
                                     .us = now,
                                     .segs = segments(tp, tcp_flight(tp)),
                                     .flags = SENT_AGAIN};
    tcp_rate_sent(tp, &b->r[0]);
    if (tp->ca_state == TCP_CA_LOSS && seq_leq(tp->snd_nxt, tp->recover))
        tcp_board_lose(b, 0);
}

/* [tp->snd_nxt, hi) leaves for the first time. */
void tcp_board_sent(struct stack *st, struct tcp_sock *tp, seq_t hi) {
    struct tcp_board *b = tp->board;
    uint32_t now = tcp_us(st);
    uint16_t segs = segments(tp, hi - tp->snd_nxt);
    struct tcp_sent *last = b && b->n > b->gone ? &b->r[b->n - 1] : NULL;
    bool plain = last && !(last->flags & ~SENT_LIMITED);
    bool same = plain && last->us == now;
    if (same || (!board_grow(st, tp) && plain)) {
        last->end = hi;
        last->us = now;
        last->segs = (uint16_t)min_u32(last->segs + segs, UINT16_MAX);
        return;
    }
    b = tp->board;
    if (!b)
        return;
    if (b->n == 0)
        begin(tp, now);
    if (b->n < b->cap) {
        b->r[b->n] = (struct tcp_sent){.end = hi, .us = now, .segs = segs};
        tcp_rate_sent(tp, &b->r[b->n++]);
    } else {
        tcp_board_free(st, tp); /* full of reports: do without */
    }
}

/* Split stretch i at `at`, which lies inside. False: no room. tp->board may
 * move. */
static bool split(struct stack *st, struct tcp_sock *tp, uint32_t i, seq_t at) {
    uint32_t left = i - tp->board->gone; /* growing may close up */
    if (!board_grow(st, tp)) {
        COUNT(st, tcp_sack_full);
        return false;
    }
    struct tcp_board *b = tp->board;
    i = b->gone + left;
    memmove(&b->r[i + 1], &b->r[i], (b->n - i) * sizeof(b->r[0]));
    b->n++;
    uint32_t len = b->r[i + 1].end - sent_start(b, i);
    uint32_t part = at - sent_start(b, i), segs = b->r[i].segs;
    uint32_t first = max_u32((uint32_t)((uint64_t)segs * part / len), 1);
    b->r[i].end = at;
    b->r[i].segs = (uint16_t)min_u32(first, segs);
    b->r[i + 1].segs = (uint16_t)(segs > first ? segs - first : 1);
    if (b->r[i].flags & SENT_SACKED) /* rounding */
        b->sacked_segs += b->r[i].segs + b->r[i + 1].segs - segs;
    return true;
}

/* The stretch with `seq` in it; n if there is none. */
static uint32_t find(const struct tcp_board *b, seq_t seq) {
    uint32_t lo = b->gone, hi = b->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (seq_leq(b->r[mid].end, seq))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Make stretches begin at lo and end at hi, as far as there is room. Returns
 * the first that lies inside. */
static uint32_t cut(struct stack *st, struct tcp_sock *tp, seq_t lo, seq_t hi) {
    uint32_t j = find(tp->board, hi);
    if (j < tp->board->n && sent_start(tp->board, j) != hi)
        split(st, tp, j, hi);
    uint32_t i = find(tp->board, lo);
    if (i < tp->board->n && seq_lt(sent_start(tp->board, i), lo)) {
        split(st, tp, i, lo);
        i = find(tp->board, lo);
        if (i < tp->board->n && seq_lt(sent_start(tp->board, i), lo))
            i++; /* no room: leave that one out */
    }
    return i;
}

/* May two neighbours be one? Reported stretches may whatever their times. */
static bool alike(const struct tcp_sent *a, const struct tcp_sent *b) {
    if (a->flags & b->flags & SENT_SACKED)
        return true;
    return a->flags == b->flags && a->us == b->us;
}

/* Join stretches from i to the one at `to`, with their neighbours. */
static void join(struct tcp_board *b, uint32_t i, seq_t to) {
    uint32_t at = i > b->gone ? i - 1 : i, next = at + 1;
    for (; next < b->n && seq_leq(b->r[next - 1].end, to); next++) {
        struct tcp_sent *a = &b->r[at], *c = &b->r[next];
        if (alike(a, c)) {
            a->end = c->end;
            a->segs = (uint16_t)min_u32(a->segs + c->segs, UINT16_MAX);
            a->us = a->us - c->us < INT32_MAX ? a->us : c->us;
            a->flags |= c->flags;
        } else if (++at != next) {
            b->r[at] = *c;
        }
    }
    if (++at == next)
        return;
    memmove(&b->r[at], &b->r[next], (b->n - next) * sizeof(b->r[0]));
    b->n -= next - at;
}

/* Flags gone, sums put right. */
static void unflag(struct tcp_board *b, uint32_t i, uint8_t flags) {
    struct tcp_sent *s = &b->r[i];
    uint32_t len = sent_len(b, i);
    if (s->flags & flags & SENT_LOST)
        b->lost -= len;
    if (s->flags & flags & SENT_SACKED) {
        b->sacked -= len;
        b->sacked_segs -= min_u32(s->segs, b->sacked_segs);
    }
    s->flags &= (uint8_t)~flags;
}

/* board.h */
void tcp_board_lose(struct tcp_board *b, uint32_t i) {
    if (b->r[i].flags & (SENT_LOST | SENT_SACKED))
        return;
    b->r[i].flags |= SENT_LOST;
    b->lost += sent_len(b, i);
    b->lost_ever += sent_len(b, i);
}

/* Merge [left, right). Returns the bytes that were not known before. */
static uint32_t report(struct stack *st, struct tcp_sock *tp, seq_t left,
                       seq_t right, struct tcp_news *news) {
    uint32_t first = cut(st, tp, left, right), i = first, fresh = 0;
    struct tcp_board *b = tp->board;
    for (; i < b->n && seq_leq(b->r[i].end, right); i++) {
        struct tcp_sent *s = &b->r[i];
        if (s->flags & SENT_SACKED)
            continue;
        tcp_rack_delivered(st, tp, i, s->end, news);
        unflag(b, i, SENT_LOST);
        s->flags |= SENT_SACKED;
        b->sacked += sent_len(b, i);
        b->sacked_segs += s->segs;
        fresh += sent_len(b, i);
    }
    if (i > first) {
        b->fack = seq_max(b->fack, b->r[i - 1].end);
        join(b, first, right);
    }
    return fresh;
}

/* Is the first block a report of a duplicate (RFC 2883 section 4)? */
static bool is_dsack(const struct tcp_seg *seg) {
    const struct tcp_sack *s = seg->o.sack;
    if (seq_leq(s[0].right, seg->h.ack))
        return true;
    return seg->o.n_sack > 1 && seq_geq(s[0].left, s[1].left) &&
           seq_leq(s[0].right, s[1].right);
}

/* A duplicate: of something that we have sent twice, not the network? */
static void take_dsack(struct stack *st, struct tcp_sock *tp,
                       const struct tcp_sack *s) {
    COUNT(st, tcp_dsack_in);
    tp->dsack_segs += segments(tp, s->right - s->left);
    if (tp->dsack_segs > tp->total_retrans) {
        COUNT(st, tcp_dsack_foreign); /* the network makes duplicates */
        return;
    }
    tp->dsack_seen = true;
    if (seq_geq(s->left, tp->undo_una) && seq_leq(s->right, tp->high_rxt))
        tp->undo_bytes -= (int32_t)(s->right - s->left);
}

/* Take the SACK blocks of an ACK, before snd_una moves. Returns bytes reported
 * for the first time. */
uint32_t tcp_board_update(struct stack *st, struct tcp_sock *tp,
                          const struct tcp_seg *seg, struct tcp_news *news) {
    uint32_t fresh = 0;
    seq_t una = seq_max(tp->snd_una, seg->h.ack);
    for (unsigned i = 0; i < seg->o.n_sack; i++) {
        struct tcp_sack s = seg->o.sack[i];
        if (!seq_lt(s.left, s.right) || seq_gt(s.right, tp->snd_nxt)) {
            COUNT(st, tcp_sack_invalid);
            continue;
        }
        if (i == 0 && is_dsack(seg)) {
            take_dsack(st, tp, &s);
            continue;
        }
        s.left = seq_max(s.left, una);
        if (!seq_lt(s.left, s.right))
            continue;
        if (tp->board)
            fresh += report(st, tp, s.left, s.right, news);
        else
            COUNT(st, tcp_sack_full);
    }
    news->delivered += fresh;
    return fresh;
}

/* Forget what lies below snd_una, which has just moved. */
void tcp_board_ack(struct stack *st, struct tcp_sock *tp,
                   struct tcp_news *news) {
    struct tcp_board *b = tp->board;
    if (!b)
        return;
    while (b->gone < b->n && seq_lt(b->start, tp->snd_una)) {
        uint32_t i = b->gone;
        struct tcp_sent *s = &b->r[i];
        bool whole = seq_leq(s->end, tp->snd_una);
        seq_t to = whole ? s->end : tp->snd_una;
        uint8_t flags = s->flags;
        if (!(flags & SENT_SACKED)) {
            tcp_rack_delivered(st, tp, i, to, news);
            news->delivered += to - b->start;
        }
        unflag(b, i, SENT_LOST | SENT_SACKED);
        b->start = to;
        if (whole) {
            b->gone++;
            continue;
        }
        s->segs = segments(tp, s->end - to);
        s->flags = flags; /* the rest is what it was */
        b->lost += flags & SENT_LOST ? s->end - to : 0;
        b->sacked += flags & SENT_SACKED ? s->end - to : 0;
        b->sacked_segs += flags & SENT_SACKED ? s->segs : 0;
    }
    if (b->gone == b->n)
        tcp_board_free(st, tp);
    else
        b->fack = seq_max(b->fack, tp->snd_una);
}

/* [lo, hi) has been sent again, now. */
void tcp_board_resent(struct stack *st, struct tcp_sock *tp, seq_t lo,
                      seq_t hi) {
    if (!tp->board)
        return;
    uint32_t first = cut(st, tp, lo, hi), i = first;
    struct tcp_board *b = tp->board;
    for (; i < b->n && seq_lt(sent_start(b, i), hi); i++) {
        unflag(b, i, SENT_LOST);
        b->r[i].flags |= SENT_AGAIN;
        b->r[i].us = tcp_us(st);
        tcp_rate_sent(tp, &b->r[i]);
    }
    if (i > first)
        join(b, first, hi);
}

/* Everything below `to` that is not reported counts as lost. */
void tcp_board_mark_lost(struct stack *st, struct tcp_sock *tp, seq_t to) {
    if (!tp->board)
        return;
    uint32_t end = cut(st, tp, to, to);
    for (uint32_t i = tp->board->gone; i < end; i++)
        tcp_board_lose(tp->board, i);
}

/* No reports, no losses: what the peer said was wrong, or our conclusions. */
void tcp_board_forget(struct tcp_sock *tp, bool reports) {
    struct tcp_board *b = tp->board;
    for (uint32_t i = b ? b->gone : 0; b && i < b->n; i++)
        unflag(b, i, reports ? SENT_LOST | SENT_SACKED : SENT_LOST);
    if (b)
        b->rack_valid = false;
}

/* Bytes that have arrived beyond snd_una. */
uint32_t tcp_board_bytes(const struct tcp_sock *tp) {
    return tp->board ? tp->board->sacked : 0;
}

/* Bytes that are lost and were not sent again. */
uint32_t tcp_board_lost(const struct tcp_sock *tp) {
    return tp->board ? tp->board->lost : 0;
}

/* Bytes ever called lost, while something is in flight; for differences. */
uint32_t tcp_board_lost_ever(const struct tcp_sock *tp) {
    return tp->board ? tp->board->lost_ever : 0;
}

/* Bytes sent again that nobody has reported. */
uint32_t tcp_board_again(const struct tcp_sock *tp) {
    const struct tcp_board *b = tp->board;
    uint32_t sum = 0;
    for (uint32_t i = b ? b->gone : 0; b && i < b->n; i++)
        if ((b->r[i].flags & (SENT_AGAIN | SENT_SACKED | SENT_LOST)) ==
            SENT_AGAIN)
            sum += sent_len(b, i);
    return sum;
}

/* The highest number that was reported; snd_una without any. */
seq_t tcp_board_highest(const struct tcp_sock *tp) {
    return tp->board ? seq_max(tp->board->fack, tp->snd_una) : tp->snd_una;
}

/* Does the peer claim to hold the very byte it says it waits for? Then it has
 * thrown away what it reported (RFC 2018 section 8). */
bool tcp_board_reneged(const struct tcp_sock *tp) {
    const struct tcp_board *b = tp->board;
    return b && b->n > b->gone && (b->r[b->gone].flags & SENT_SACKED);
}

/* NextSeg() of RFC 6675 section 4, rule 1: the first stretch that is lost. */
bool tcp_board_hole(const struct tcp_sock *tp, seq_t *lo, seq_t *hi) {
    const struct tcp_board *b = tp->board;
    if (!b || !b->lost)
        return false;
    uint32_t i = b->gone;
    while (!(b->r[i].flags & SENT_LOST))
        i++;
    *lo = sent_start(b, i);
    while (i + 1 < b->n && (b->r[i + 1].flags & SENT_LOST))
        i++;
    *hi = b->r[i].end;
    return true;
}
