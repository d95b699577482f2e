// SPDX-License-Identifier: Apache-2.0
//! The targets for a bounded time, without libFuzzer: every seed, then as many changed ones as
//! FUZZ_SECONDS (by default 5, for each target) allow. The order is always the same, so that what
//! fails fails again; the input is printed and can be made a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use mod_wsgi_fuzz::mutation::{Random, mutate};
use mod_wsgi_fuzz::{body, frames, head};

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn check(run: fn(&[u8]), data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| run(data))).is_err() {
        panic!("fails with {}", data.escape_ascii());
    }
}

fn bounded(name: &str, run: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(seeds.len() > 3, "too few seeds of {name}");
    seeds.iter().for_each(|seed| check(run, seed));
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(5));
    let mut random = Random::new(1);
    let mut runs = 0_u64;
    // What was changed is changed further now and then, so that inputs get far from the seeds.
    let mut pool = seeds;
    let kept = pool.len();
    while Instant::now() < end {
        for _ in 0..1000 {
            let mut data = pool[random.below(pool.len())].clone();
            let other = random.below(pool.len());
            mutate(&mut data, &pool[other], &mut random);
            check(run, &data);
            if random.below(20) == 0 {
                if pool.len() < kept + 200 {
                    pool.push(data);
                } else {
                    let place = kept + random.below(200);
                    pool[place] = data;
                }
            }
            runs += 1;
        }
    }
    println!("{name}: {runs} runs");
    assert!(runs > 0);
}

#[test]
fn decoders() {
    bounded("frames", frames::run);
}

#[test]
fn response_head() {
    bounded("head", head::run);
}

#[test]
fn request_body() {
    bounded("body", body::run);
}
