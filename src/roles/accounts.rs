//! The accounts of all queues, whoever keeps which part of the books.

use super::stores::Stores;
use crate::ports::bus::{Account, Bus, Queue};
use crate::ports::cluster::TurnAccount;
use crate::ports::operations::Error;

/// Every queue's account. With RabbitMQ nobody but the gateways' spools can say which turns were accepted and which have
/// come to their end; each gateway reports that every few seconds.
///
/// # Errors
/// When the bus or the store cannot be asked.
pub async fn accounts(stores: &Stores, bus: &dyn Bus) -> Result<Vec<Account>, Error> {
    let mut accounts = bus.accounts().await?;
    if let Some(cluster) = stores.cluster() {
        let members = cluster.members().await?;
        let turns =
            members.iter().filter_map(|member| member.turns).fold(TurnAccount::default(), |sum, one| TurnAccount {
                accepted: sum.accepted + one.accepted,
                ended: sum.ended + one.ended,
                lost: sum.lost + one.lost,
            });
        if let Some(persist) = accounts.iter_mut().find(|account| account.queue == Queue::Persist.name()) {
            *persist = of_turns(persist, turns);
        }
    }
    Ok(accounts)
}

/// Turns that were given up have come to their end too.
fn of_turns(persist: &Account, turns: TurnAccount) -> Account {
    Account {
        accepted: turns.accepted,
        done: turns.ended.saturating_sub(persist.dead),
        pending: turns.accepted.saturating_sub(turns.ended.max(persist.dead)),
        ..persist.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_given_up_has_ended_and_is_not_done() {
        let queue = Account {
            queue: Queue::Persist.name(),
            accepted: 3,
            done: 0,
            dead: 1,
            pending: 2,
            erased: 0,
            oldest_ms: None,
        };
        let account = of_turns(&queue, TurnAccount { accepted: 10, ended: 7, lost: 0 });
        assert_eq!((account.accepted, account.done, account.dead, account.pending), (10, 6, 1, 3));
        assert!(account.balances());
        // It was given up and the gateway has not looked yet.
        let account = of_turns(&queue, TurnAccount { accepted: 1, ended: 0, lost: 0 });
        assert_eq!((account.done, account.dead, account.pending), (0, 1, 0));
        assert!(account.balances());
    }
}
