//! Reading an imported company back: what the target gives is written as an export would, and has to have the checksums
//! of the one that was brought.

use time::{Duration, OffsetDateTime};

use super::files::Writer;
use super::rows::{Head, Row};
use super::walk::{Walk, is_kept};
use super::{Archive, Backends, Entry, Error, Kind, Progress, read};
use crate::domain::{Company, CompanyScope};
use crate::ports::index::Encoder;

const PURPOSE: &str = "verifying";
/// Turns to be kept for less than this are not compared: they may go while the target is read.
const MARGIN: Duration = Duration::hours(1);
/// Turns of a long conversation that are read at once.
const PIECE: usize = 200;

/// What was exported of a kind, and what the target gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Of which kind.
    pub kind: Kind,
    /// What was exported, as far as it is to be in the target.
    pub exported: Entry,
    /// What the target gives back.
    pub imported: Entry,
}

impl Comparison {
    /// Whether both are the same to the byte.
    pub fn agrees(&self) -> bool {
        self.exported == self.imported
    }
}

/// Compares what was exported with what is there. `anew` is the encoder in use when it has made the vectors anew: then
/// passages are compared without them.
pub(super) async fn compare(
    archive: &Archive,
    to: &Backends,
    scope: &CompanyScope,
    anew: Option<&Encoder>,
    progress: &dyn Progress,
) -> Result<Vec<Comparison>, Error> {
    let id = scope.company();
    let mut comparisons = Vec::new();
    let company = read::company(to, scope).await?;
    for kind in [Kind::Company, Kind::Keys, Kind::Endpoints, Kind::Documents, Kind::Passages] {
        let mut writer = Writer::counting();
        let mut exported = archive.entry(id, kind)?.clone();
        match kind {
            Kind::Company => writer.row(&company)?,
            Kind::Keys => read::write(&read::keys(to, scope).await?, &mut writer)?,
            Kind::Endpoints => read::write(&read::endpoints(to, scope).await?, &mut writer)?,
            Kind::Documents => read::write(&read::documents(to, scope).await?, &mut writer)?,
            _ => {
                let (encoder, passages) = read::passages(to, scope).await?;
                match anew {
                    None => read::write_passages(encoder, passages, &mut writer)?,
                    Some(in_use) => {
                        exported = texts(archive, scope, in_use)?;
                        writer.header(&Head { encoder })?;
                        passages.into_iter().try_for_each(|encoded| writer.row(&encoded.passage))?;
                    }
                }
            }
        }
        progress.at(id, PURPOSE, kind, writer.rows());
        comparisons.push(Comparison { kind, exported, imported: writer.finish()? });
    }
    let kept_at = OffsetDateTime::now_utc() + MARGIN;
    let (mut heads, mut turns) = (Writer::counting(), Writer::counting());
    let walk = Walk { from: to, scope, company: &company, kept_at, purpose: PURPOSE };
    walk.write(&mut heads, &mut turns, progress).await?;
    let (exported_heads, exported_turns) = conversations(archive, &company, kept_at)?;
    comparisons.extend([
        Comparison { kind: Kind::Conversations, exported: exported_heads, imported: heads.finish()? },
        Comparison { kind: Kind::Turns, exported: exported_turns, imported: turns.finish()? },
    ]);
    Ok(comparisons)
}

/// The exported passages without their vectors, as the encoder in use has them.
fn texts(archive: &Archive, scope: &CompanyScope, in_use: &Encoder) -> Result<Entry, Error> {
    let mut rows = archive.reader(scope.company(), Kind::Passages)?;
    let mut writer = Writer::counting();
    let _exported: Option<Head> = rows.next()?;
    writer.header(&Head { encoder: Some(in_use.clone()) })?;
    while let Some(row) = rows.next::<Row>()? {
        writer.row(&row.into_passage())?;
    }
    writer.finish()
}

/// The exported heads and turns, without those that are too old by now.
fn conversations(archive: &Archive, company: &Company, kept_at: OffsetDateTime) -> Result<(Entry, Entry), Error> {
    let entry = |kind| archive.entry(&company.id, kind).cloned();
    if company.retention_days.is_none() {
        return Ok((entry(Kind::Conversations)?, entry(Kind::Turns)?));
    }
    let mut conversations = archive.conversations(&company.id)?;
    let (mut heads, mut turns) = (Writer::counting(), Writer::counting());
    let mut last = None;
    while let Some((head, some)) = conversations.next(PIECE)? {
        for turn in some.iter().filter(|turn| is_kept(company, &turn.record, kept_at)) {
            turns.row(turn)?;
            if last != Some(head.conversation_id) {
                last = Some(head.conversation_id);
                heads.row(&head)?;
            }
        }
    }
    Ok((heads.finish()?, turns.finish()?))
}
