//! The time between frames that the provider sends 20 ms apart, straight from it and through the service.

use std::time::Duration;

use futures::future::join_all;

use crate::Effort;
use crate::client::Asker;
use crate::knowledge;
use crate::provider::Provider;
use crate::sites;
use crate::table::{Sample, Table, ms, ratio, reach};

const GAP: Duration = Duration::from_millis(20);
/// Streams at a time.
const STREAMS: usize = 8;
/// Where gaps gather, in milliseconds, when small writes wait for acknowledgements (Nagle's algorithm).
const WAITED: std::ops::Range<f64> = 36.0..50.0;
/// How much larger their share may be than the provider's own before it is called a mode.
const NOISE: f64 = 0.005;

pub(crate) async fn measure(effort: Effort) {
    let provider = Provider::start();
    let (site, key) = sites::plain(&provider);
    let server = site.serve();
    let ways = [Asker::direct(&provider.base_url()), Asker::through(&server, &key)];
    let frames = effort.pick(100, 15);
    let rounds = effort.pick(5, 1);
    let (mut gaps, mut firsts) = ([Sample::default(), Sample::default()], [Sample::default(), Sample::default()]);
    provider.set(frames, GAP);
    for round in 0..rounds {
        for (way, asker) in ways.iter().enumerate() {
            let streams = (0..STREAMS)
                .map(|n| async move { asker.ask(&knowledge::question(n), &format!("gaps-{round}-{n}")).await });
            for seen in join_all(streams).await {
                firsts[way].push(seen.contents.get(1).map_or(f64::NAN, |second| second - seen.contents[0]));
                gaps[way].extend(seen.gaps());
            }
        }
    }
    let title = format!("Gaps between frames 20 ms apart ({} a side, {STREAMS} streams at a time)", gaps[0].len());
    let mut table = Table::new(title, &["", "p50", "p99", "p99 ratio", "first gap p50", "36-50 ms"]);
    let share = [gaps[0].share(WAITED), gaps[1].share(WAITED)];
    for (way, name) in ["provider alone", "through"].into_iter().enumerate() {
        let target = match way {
            0 => String::new(),
            _ => reach("no 40 ms mode", share[1] <= share[0] + NOISE && gaps[1].p50() < WAITED.start),
        };
        let sample = &gaps[way];
        table.row(
            name,
            &[
                ms(sample.p50()),
                ms(sample.p99()),
                ratio(sample.p99(), gaps[0].p99()),
                ms(firsts[way].p50()),
                format!("{:.2} %", share[way] * 100.0),
            ],
            target,
        );
    }
    table.print();
}
