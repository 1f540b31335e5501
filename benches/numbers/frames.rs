//! Processor time of the service for what it streams, beside nginx where that is installed.
//!
//! The whole turn is counted, from the key's check to the stored record, and divided by the frames that the provider
//! sent: nginx only relays.

use std::time::Duration;

use futures::future::join_all;

use crate::Effort;
use crate::client::Asker;
use crate::knowledge;
use crate::nginx::Nginx;
use crate::proc::{cpu_ms, quiet};
use crate::provider::Provider;
use crate::sites;
use crate::table::{Sample, Table, ratio, reach};

/// What a FastAPI service of the usual design needed on a machine of this kind for frames as fast as they come, in
/// milliseconds per 1,000 frames. It is not run here.
const FASTAPI: f64 = 126.0;

/// One way of streaming.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) frames: usize,
    pub(crate) gap: Duration,
    pub(crate) streams: usize,
    pub(crate) rounds: usize,
}

/// A process that relays.
pub(crate) struct Relay {
    pub(crate) name: &'static str,
    pub(crate) asker: Asker,
    pub(crate) pid: u32,
}

pub(crate) async fn measure(effort: Effort) {
    let provider = Provider::start();
    let (site, key) = sites::plain(&provider);
    let server = site.serve();
    let nginx = Nginx::start(&provider);
    let mut relays =
        vec![Relay { name: "turnpike, whole turn", asker: Asker::through(&server, &key), pid: server.pid() }];
    match &nginx {
        Some(nginx) => {
            relays.push(Relay { name: "nginx", asker: Asker::direct(&nginx.base_url), pid: nginx.pid() });
        }
        None => eprintln!("SKIPPED the comparison of processor time: nginx is not installed"),
    }
    let gap = Duration::from_millis(20);
    let loads = [
        Load {
            name: "20 ms apart",
            frames: effort.pick(200, 20),
            gap,
            streams: effort.pick(50, 5),
            rounds: effort.pick(3, 1),
        },
        Load {
            name: "as fast as they come",
            frames: effort.pick(2000, 200),
            gap: Duration::ZERO,
            streams: 8,
            rounds: effort.pick(6, 1),
        },
    ];
    let heads = ["", "frames", "CPU ms per 1,000 frames", "to nginx"];
    let mut table = Table::new("Processor time of the relaying process", &heads);
    for load in &loads {
        let spent = run(load, &provider, &relays).await;
        for (relay, (frames, per_thousand)) in relays.iter().zip(&spent) {
            let compared = spent.get(1).map(|(_, value)| *value);
            table.row(
                format!("{}, {}", relay.name, load.name),
                &[
                    frames.to_string(),
                    format!("{per_thousand:.1}"),
                    compared.map_or("-".to_owned(), |compared| ratio(*per_thousand, compared)),
                ],
                if relay.name == "nginx" { String::new() } else { target(load, *per_thousand, compared) },
            );
        }
    }
    table.print();
}

fn target(load: &Load, per_thousand: f64, nginx: Option<f64>) -> String {
    match nginx {
        _ if load.gap.is_zero() => against_fastapi(per_thousand),
        Some(nginx) => reach("<= 2x nginx", per_thousand <= 2.0 * nginx),
        None => "<= 2x nginx: NOT MEASURED".to_owned(),
    }
}

/// What frames as fast as they come have to reach.
pub(crate) fn against_fastapi(per_thousand: f64) -> String {
    reach(&format!("<= 1/10 of FastAPI's {FASTAPI:.0}, measured elsewhere"), per_thousand <= FASTAPI / 10.0)
}

/// Frames, and milliseconds of processor time per 1,000 of them, for each relay; the relays take turns.
pub(crate) async fn run(load: &Load, provider: &Provider, relays: &[Relay]) -> Vec<(usize, f64)> {
    let mut spent: Vec<Sample> = relays.iter().map(|_| Sample::default()).collect();
    provider.set(load.frames, load.gap);
    for round in 0..=load.rounds {
        for (relay, spent) in relays.iter().zip(&mut spent) {
            quiet(relay.pid).await;
            let before = cpu_ms(relay.pid);
            let streams = (0..load.streams).map(|n| async move {
                let session = format!("{}-{round}-{n}", load.name);
                relay.asker.ask(&knowledge::question(n), &session).await
            });
            for seen in join_all(streams).await {
                assert!(!seen.contents.is_empty(), "an answer has pieces");
            }
            quiet(relay.pid).await;
            // The first round opens connections and trains what is trained once.
            if round > 0 {
                spent.push(cpu_ms(relay.pid) - before);
            }
        }
    }
    let frames = load.frames * load.streams * load.rounds;
    spent.iter().map(|spent| (frames, spent.sum() * 1000.0 / frames as f64)).collect()
}
