//! The limit against a leaking bucket: each call pours in the time between two calls, a nanosecond leaks out in a
//! nanosecond, and a call that makes the bucket run over waits until it would not.

use super::*;
use crate::tests::property;

/// What the bucket held, and when.
#[derive(Default)]
struct Bucket {
    level: u64,
    at: u64,
}

/// What a call pours in, and how many of them the bucket holds.
fn measures(policy: &RateLimitPolicy) -> (u64, u64) {
    let drop = (policy.period.as_nanos() as u64).div_ceil(u64::from(policy.permits));
    let burst = if policy.burst == 0 { policy.permits } else { policy.burst };
    (drop, burst.into())
}

impl Bucket {
    /// Another policy is another bucket: with room for as many calls, where it is large enough. What has run over stays
    /// above its brim.
    fn refit(&mut self, last: &RateLimitPolicy, next: &RateLimitPolicy) {
        let ((drop, burst), (next_drop, next_burst)) = (measures(last), measures(next));
        if (drop, burst) == (next_drop, next_burst) {
            return;
        }
        let next_brim = next_burst * next_drop;
        self.level = match (drop * burst).checked_sub(self.level) {
            Some(room) => next_brim - (room * next_drop / drop).min(next_brim),
            None => next_brim + self.level - drop * burst,
        };
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter { longest: u64 },
    Take { which: usize },
    GiveUp { which: usize },
    Pass(u64),
    Apply(usize),
}

fn step(bits: u64) -> Step {
    let which = (bits >> 8) as usize & 0xff;
    match bits & 15 {
        0..=6 => Step::Enter { longest: [0, 1_000, bits >> 16 & 0xfff][(bits >> 4) as usize % 3] },
        7 | 8 => Step::Take { which },
        9..=11 => Step::GiveUp { which },
        12..=14 => Step::Pass(bits >> 16 & 0x3ff),
        _ => Step::Apply(which % 2),
    }
}

/// A turn's start, the bucket's end in time as it left it, and what it poured in: only the last in line gives that back.
type Told = (u64, u64, u64);

#[test]
fn agrees_with_a_leaking_bucket() {
    let policy = (1_u32..20, 1_u64..20_000, 0_u32..10).prop_map(|(permits, period, burst)| RateLimitPolicy {
        permits,
        period: Duration::from_nanos(period),
        burst,
        max_wait: Duration::ZERO,
    });
    let steps = vec(any::<u64>().prop_map(step), 0..400);
    property(400, ([policy.clone(), policy], steps), |(policies, steps)| {
        let (limit, mut bucket, mut policy, mut now) = (RateLimit::new(), Bucket::default(), &policies[0], 1);
        limit.set_policy(policy, Timestamp::from_nanos(now));
        let (mut out, mut free): (Vec<(Turn<'_>, Told)>, Vec<Told>) = (Vec::new(), Vec::new());
        for step in steps {
            bucket.level = bucket.level.saturating_sub(now - bucket.at);
            bucket.at = now;
            match step {
                Step::Pass(nanos) => now += nanos,
                Step::Apply(which) => {
                    if measures(policy) != measures(&policies[which]) {
                        free.clear();
                    }
                    bucket.refit(policy, &policies[which]);
                    policy = &policies[which];
                    limit.set_policy(policy, Timestamp::from_nanos(now));
                }
                Step::Enter { longest } => {
                    let entered = limit.enter(policy, Duration::from_nanos(longest), Timestamp::from_nanos(now));
                    let (drop, burst) = measures(policy);
                    let line = (bucket.level + drop).saturating_sub(burst * drop);
                    if line > 0 {
                        free.retain(|(start, ..)| *start >= now);
                    }
                    let first = free.iter().copied().filter(|(start, ..)| line > 0 && *start < now + line).min();
                    let wait = first.map_or(line, |(start, ..)| start - now);
                    let told = match &entered {
                        Ok(turn) => (true, turn.wait()),
                        Err(limited) => (false, limited.retry_after),
                    };
                    prop_assert_eq!(told, (wait <= longest, Duration::from_nanos(wait)));
                    if let Ok(turn) = entered {
                        let told = first.unwrap_or_else(|| {
                            bucket.level += drop;
                            let end = now + bucket.level;
                            (end.saturating_sub(burst * drop), end, drop)
                        });
                        free.retain(|one| *one != told);
                        out.push((turn, told));
                    }
                }
                Step::Take { which } if !out.is_empty() => {
                    let (turn, ..) = out.swap_remove(which % out.len());
                    turn.take();
                }
                Step::GiveUp { which } if !out.is_empty() => {
                    let (turn, told) = out.swap_remove(which % out.len());
                    drop(turn);
                    let (_, end, poured) = told;
                    // An end that has passed belongs to a bucket that has run empty since.
                    if now + bucket.level == end {
                        bucket.level -= poured.min(bucket.level);
                        while let Some(last) = free.iter().position(|(_, end, _)| now + bucket.level == *end) {
                            bucket.level -= free.swap_remove(last).2.min(bucket.level);
                        }
                    } else {
                        // Turns of two policies may end at the same time.
                        free.retain(|(_, other, _)| *other != end);
                        free.push(told);
                    }
                }
                Step::Take { .. } | Step::GiveUp { .. } => {}
            }
        }
        Ok(())
    });
}
