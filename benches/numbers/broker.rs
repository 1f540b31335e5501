//! Whether the broker is felt by streams: one gateway that publishes, and the same one while its broker takes connections
//! and says nothing, in turns.

use std::time::Duration;

use futures::future::join_all;
use uuid::Uuid;

use crate::Effort;
use crate::client::Asker;
use crate::knowledge;
use crate::proc;
use crate::provider::Provider;
use crate::sites::{self, COMPANY};
use crate::support::process::{Server, Site};
use crate::support::proxy::Proxy;
use crate::support::services::OwnServer;
use crate::table::{Sample, Table, ms, ratio, reach};

const GAP: Duration = Duration::from_millis(20);
/// Streams at a time.
const STREAMS: usize = 8;
/// How far apart the processor time of the two may be.
const APART: f64 = 0.05;

/// What was seen with the broker in one state.
#[derive(Default)]
struct Seen {
    firsts: Sample,
    gaps: Sample,
    cpu_ms: Sample,
}

pub(crate) async fn measure(effort: Effort) {
    let (Some(rabbit), Some(mongo)) = (OwnServer::rabbitmq(), OwnServer::mongodb()) else { return };
    let provider = Provider::start();
    let line = Proxy::before(rabbit.url()).await;
    let (site, server, key) = tokio::task::block_in_place(|| {
        let settings = format!(
            "{}[bus]\nbackend = \"rabbitmq\"\nurl = {:?}\nnamespace = \"b{}\"\n[store]\nbackend = \"mongodb\"\nuri = {:?}\n",
            sites::settings(Some(&provider), None),
            line.url(rabbit.url()),
            Uuid::new_v4().simple(),
            mongo.url(),
        );
        let site = Site::new(&settings);
        site.ok(&["migrate"]);
        let key = site.company(COMPANY);
        let server = Server::start(site.command(&["serve", "--roles", "gateway"]));
        (site, server, key)
    });
    let asker = Asker::through(&server, &key);
    let (frames, rounds) = (effort.pick(60, 10), effort.pick(8, 1));
    provider.set(frames, GAP);
    let mut seen = [Seen::default(), Seen::default()];
    for round in 0..rounds {
        for (state, seen) in seen.iter_mut().enumerate() {
            if state == 1 {
                line.blackhole();
            }
            proc::quiet(server.pid()).await;
            let before = proc::cpu_ms(server.pid());
            let streams = (0..STREAMS).map(|n| {
                let asker = &asker;
                async move { asker.ask(&knowledge::question(n), &format!("broker-{round}-{state}-{n}")).await }
            });
            for stream in join_all(streams).await {
                seen.firsts.push(stream.first_content());
                seen.gaps.extend(stream.gaps());
            }
            // What a turn leaves is published behind it, and belongs to its cost.
            tokio::time::sleep(Duration::from_millis(300)).await;
            seen.cpu_ms.push((proc::cpu_ms(server.pid()) - before) / STREAMS as f64);
            line.restore();
        }
    }
    let title =
        format!("A gateway's streams, broker there and not answering ({STREAMS} at a time, {rounds} rounds each)");
    let mut table = Table::new(title, &["", "first p50", "first p99", "gap p50", "gap p99", "CPU a turn", "ratio"]);
    let cpu = |seen: &Seen| seen.cpu_ms.sum() / seen.cpu_ms.len() as f64;
    let base = cpu(&seen[0]);
    for (name, seen) in ["publishing", "broker stalled"].into_iter().zip(&seen) {
        let apart = (cpu(seen) / base - 1.0).abs();
        let target = if name == "publishing" { String::new() } else { reach("CPU within 5 %", apart <= APART) };
        table.row(
            name,
            &[
                ms(seen.firsts.p50()),
                ms(seen.firsts.p99()),
                ms(seen.gaps.p50()),
                ms(seen.gaps.p99()),
                ms(cpu(seen)),
                ratio(cpu(seen), base),
            ],
            target,
        );
    }
    table.print();
    drop((server, site));
}
