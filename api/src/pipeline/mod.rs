//! The one pipeline: every change of anything goes through [`Pipeline::execute`].
//!
//! One transaction in four round trips (a message that came in needs a fifth, to find its ticket):
//! begin and bind the tenant; take the request's key, lock the ticket, read the facts; (here, in process: policy and `domain::decide`); write; commit. Accepted
//! or refused, the attempt leaves its decision, its audit row and its answer together or not at
//! all. A refusal writes nothing else.
//!
//! What is *not* stored is what a repetition should try anew: the database was away, a lock was
//! busy, no policy could decide. See [`Outcome::is_stored`] for the few refusals among them.
//!
//! Dropping the future rolls back; once the commit is sent the outcome is known to the database
//! alone, and the same request id asks for it.

mod answer;
mod asks;
mod call;
mod held;
mod input;
mod intent;
mod judge;
#[cfg(test)]
mod masking;
mod routing;
mod turns;
mod unrecorded;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contracts::{
    ActorKind, ApiPermission, ApprovalId, AuditId, Command, CommandId, CommentId, DecisionId,
    EventId, EvidenceId, InvoiceId, MessageId, NoteId, Operation, ProposalId, Role, TenantId,
    TicketId, VisitId,
    approval::{Approval, ApprovalKind, ApprovalState},
    autonomy::AutonomyRules,
    command::CommandClass,
    event::AutonomyMode,
    kill_switch::KillScope,
    policy::{PolicyActor, PolicyDecision, PolicyInput, PolicyResult},
    schedule::TenantSettings,
    tenant::{TenantState, is_turn},
    ticket::Ticket,
};
use domain::{Autonomy, FreshIds, autonomy::kill_state};
use policy::Bundle;
use sqlx::PgPool;
use store::{
    OutboxWaker, TenantTx,
    audit::{AuditRow, actor_stream, filing_stream, stored_instant, ticket_stream},
    bundles::Place,
    command::{
        self, Attempt, BesideRow, Counted, DecisionRow, HeldCommand, OpenFacts, OpenRequest,
        Opened, StoredAnswer, Writes,
    },
    failpoint,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    bundles::{Bundles, NoBundle},
    config::Limits,
    limits::{self, Adds, Limiter, Pass},
};

pub use call::{Answer, Call};
use held::About;
use input::Asked;
use intent::Intent;
use judge::{Brought, Outcome, Situation};
use turns::Turns;
use unrecorded::Unrecorded;

/// How long a turn of the kill switch, or of a stage, waits for the commands of software that are
/// under way. None holds its locks longer: Postgres ends a session of ours that rests in its transaction, or a
/// statement, after ten seconds. Below the bound on a request.
const TURN_PATIENCE: Duration = Duration::from_secs(25);

/// How long the erasure of a tenant may take: it goes through all of its rows. Whoever asked may stop
/// waiting, and ask again.
const ERASURE: Duration = Duration::from_secs(15 * 60);

/// Connections where nobody says how many: a pipeline without a server around it.
const USUAL_CONNECTIONS: u32 = 16;

/// What may be tuned.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// How long a command waits for its key, and then for its ticket.
    pub lock_timeout: Duration,
    /// The most that software may do by itself in this environment.
    pub ceiling: AutonomyMode,
    /// How much each tenant may use.
    pub limiter: Arc<Limiter>,
    /// Features switched off to measure what they cost.
    #[cfg(feature = "bench")]
    pub without: Without,
}

/// What a benchmark leaves out. The result is not fit for use.
#[cfg(feature = "bench")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Without {
    /// The audit rows' hash chain.
    pub chain: bool,
    /// The evaluation of the policy: everything is allowed.
    pub policy: bool,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(3),
            ceiling: AutonomyMode::Auto,
            limiter: Arc::new(Limiter::new(&Limits::default(), USUAL_CONNECTIONS, None)),
            #[cfg(feature = "bench")]
            without: Without::default(),
        }
    }
}

/// Executes commands. Nothing that is right or wrong rests on its state: any number of processes may
/// run it.
#[derive(Debug)]
pub struct Pipeline {
    pool: PgPool,
    bundles: Arc<Bundles>,
    waker: OutboxWaker,
    turns: Turns,
    options: PipelineOptions,
}

impl Pipeline {
    /// `pool` is that of `dispatch_app`.
    pub fn new(
        pool: PgPool,
        bundles: Arc<Bundles>,
        waker: OutboxWaker,
        options: PipelineOptions,
    ) -> Self {
        Self {
            pool,
            bundles,
            waker,
            turns: Turns::default(),
            options,
        }
    }

    /// How much each tenant may use.
    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.options.limiter
    }

    /// The most that software may do by itself.
    pub(crate) fn ceiling(&self) -> AutonomyMode {
        self.options.ceiling
    }

    /// Does what is asked for, or says why not. Always answers: a failure is a problem document.
    pub async fn execute(&self, call: Call) -> Answer {
        let mut call = call;
        if let Err(failure) = self.place(&mut call).await {
            return failure.answer(&call);
        }
        let mut attempted = self.attempts(&call).await;
        // Which bundle decides is read without a lock, for everybody reads it: of two activations at
        // once the second looks again, and is decided by the first one's.
        let activates = matches!(
            call.command,
            Command::ActivateBundle(_) | Command::DecideApproval(_)
        );
        if activates && matches!(attempted, Err(Unrecorded::Store(store::Error::Guard(_)))) {
            attempted = self.attempts(&call).await;
        }
        // Which slugs and hashes are taken nobody sees but the index over all of them.
        if matches!(attempted, Err(Unrecorded::Store(store::Error::Taken))) {
            call.taken = true;
            attempted = self.attempts(&call).await;
        }
        // It is refused as everything else is there, and on record.
        if matches!(attempted, Err(Unrecorded::AnsweredBeforeErasure)) {
            call.untold = true;
            attempted = self.attempts(&call).await;
        }
        attempted.unwrap_or_else(|failure| failure.answer(&call))
    }

    /// Whose records the command is in. What somebody of the platform does about a tenant is in that
    /// tenant's: it has to know who did what to it. For anybody else another tenant is not there, as a
    /// ticket of its would not be; nor is one that nobody has.
    async fn place(&self, call: &mut Call) -> Result<(), Unrecorded> {
        let actor = &call.actor;
        let other = call.command.tenant_id().filter(|it| *it != actor.tenant_id);
        let may = actor.kind == ActorKind::Person && actor.roles.contains(&Role::PlatformAdmin);
        let Some(other) = other.filter(|_| may) else {
            return Ok(());
        };
        let payer = actor.tenant_id;
        let urgent = is_urgent(&call.command);
        let stands = async |tenant| {
            let pass = self.pass(payer, urgent).await;
            let mut tx = TenantTx::begin_oversight(&self.pool, tenant).await?;
            tx.keep(pass);
            let standing = store::tenants::standing(&mut tx).await?;
            tx.rollback().await?;
            Ok::<_, store::Error>(standing.map(|(state, _)| state))
        };
        // Whoever belongs to a tenant that was stopped turns no other one.
        let at_home = stands(actor.tenant_id).await? == Some(TenantState::Active);
        if at_home && stands(other).await?.is_some() {
            call.home = Some(std::mem::replace(&mut call.actor.tenant_id, other));
        }
        Ok(())
    }

    /// The turn of a tenant's command at the connections to Postgres.
    async fn pass(&self, payer: TenantId, urgent: bool) -> Pass {
        self.options.limiter.turnstile().pass(payer, urgent).await
    }

    async fn attempts(&self, call: &Call) -> Result<Answer, Unrecorded> {
        let mut alone = false;
        let mut attempted = self.attempt(call, None, alone).await;
        // Policy does not mind it: now with the locks that keep others out, which nobody takes who may not.
        if matches!(attempted, Err(Unrecorded::NotAlone)) {
            alone = true;
            attempted = self.attempt(call, None, alone).await;
        }
        // Somebody else took the last of the hour between our look and our write: the second look
        // sees it, and policy says so.
        if matches!(attempted, Err(Unrecorded::Store(store::Error::CapReached))) {
            attempted = self.attempt(call, None, alone).await;
        }
        // Policy does not mind it. The check takes a while: with nothing locked, and not for
        // somebody who may not.
        if matches!(attempted, Err(Unrecorded::Unchecked)) {
            attempted = match self.brought(&call.command).await {
                Ok(brought) => self.attempt(call, Some(brought), alone).await,
                Err(passing) => Err(passing.into()),
            };
        }
        attempted
    }

    /// `alone`: with the locks that keep others out, where the command takes any.
    async fn attempt(
        &self,
        call: &Call,
        brought: Option<Brought>,
        alone: bool,
    ) -> Result<Answer, Unrecorded> {
        let at = stored_instant(call.received_at);
        let mut intent = Intent::of(call);
        let patience = self.options.lock_timeout;
        let turn = match call.ticket_id.filter(|_| !call.dry_run) {
            Some(id) => Some(
                (self.turns)
                    .take((call.actor.tenant_id, id), call.expected_version, patience)
                    .await
                    .ok_or(Unrecorded::NoTurn)?,
            ),
            None => None,
        };
        let payer = call.home.unwrap_or(call.actor.tenant_id);
        (self.options.limiter).prepare(payer, &call.command).await;
        let pass = self.pass(payer, is_urgent(&call.command)).await;
        let mut tx = TenantTx::begin(&self.pool, call.actor.tenant_id, patience).await?;
        tx.keep(pass);
        let inbound = routing::find(&mut tx, &self.bundles, call, at).await?;
        let about = held::find(&mut tx, call).await?;
        let brought = match about.as_ref().and_then(|about| about.carries_out(call)) {
            Some(Command::ActivateBundle(body)) => {
                let place = Place::Tx(&mut tx);
                Some(checked(self.bundles.reload(place, &body.sha256).await)?)
            }
            _ => brought,
        };
        let mut asks = asks::of(call, about.as_ref(), at);
        let shuts_out = asks.waits_for_software() || is_turn(call.command.operation());
        let only_looks = shuts_out && !alone && !call.dry_run;
        if only_looks {
            asks.wait_for_nobody();
        } else if shuts_out {
            tx.wait_longer(TURN_PATIENCE).await?;
        }
        let routed = inbound.as_ref().and_then(routing::Inbound::ticket_id);
        let target = routed
            .or(call.ticket_id)
            .or_else(|| about.as_ref()?.ticket_id());
        let request = OpenRequest {
            actor_id: &call.actor.id,
            operation: call.command.operation(),
            request_id: &call.request_id,
            // To whom the key does not let ask it, no answer of before is told either.
            intent_sha256: match in_scope(call) && !call.untold {
                true => intent.sha256,
                false => [0; 32],
            },
            ticket_id: target,
            asks: &asks,
            alone,
            dry_run: call.dry_run,
        };
        let ids = Minted::new(target);
        let by_itself = call.actor.kind.is_autonomous();
        let (mismatch, ticket, mut facts) = match command::open(&mut tx, request).await? {
            Opened::Replay(stored) => {
                // What became of the tenant itself is told on: it names nobody.
                let of_erased = call.command.tenant_id().is_none()
                    && matches!(
                        store::tenants::standing(&mut tx).await?,
                        Some((TenantState::Erased, _))
                    );
                if of_erased {
                    tx.rollback().await?;
                    return Err(Unrecorded::AnsweredBeforeErasure);
                }
                let mut answer = answer::replayed(stored);
                if by_itself {
                    let switches = command::switches(&mut tx).await?;
                    answer.kill = Some(kill_state(&switches, at, ids.ticket));
                }
                tx.rollback().await?;
                return Ok(answer);
            }
            Opened::Ready {
                mismatch,
                ticket,
                facts,
            } => (mismatch, ticket, facts),
        };
        if let Command::RecordGateReport(body) = &call.command {
            let range = (body.since, body.until);
            let rows = store::read::ledger(&mut tx, body.target.operation, range).await?;
            facts.control.ledger = Some(rows);
        }
        if let Command::ApplyStageChange(_) = &call.command {
            facts.control.turned = store::read::turned_switches(&mut tx).await?;
        }
        if let Command::RecordProposal(body) = &call.command {
            facts.tell_apart(&mut tx, body).await?;
        }
        let effect = clock_hour(asks::takes_effect_at(&call.command, at));
        if let Some(hour) = facts.hour.as_mut().filter(|_| effect != clock_hour(at)) {
            // Rare enough for a round trip of its own.
            let operation = call.command.operation();
            hour.of_operation = command::counted_in(&mut tx, effect, operation).await?;
        }
        let settings = facts.settings.take().ok_or(Unrecorded::UnknownTenant)?;
        let sha256 = facts.bundle.take().ok_or(Unrecorded::NoBundle)?;
        let bundle = self.bundles.load(Place::Tx(&mut tx), &sha256).await?;
        let before = ticket.as_ref().map(|locked| &locked.ticket);
        if let (Some(turn), Some(before)) = (&turn, before) {
            turn.saw(before.version);
        }
        let template = judge::template(&call.command, before, &bundle);
        intent.hide_unlisted_details(&call.command, template);
        let autonomy = Autonomy {
            at,
            stages: std::mem::take(&mut facts.stages),
            switches: facts.switches.clone(),
            ceiling: self.options.ceiling,
            rules: bundle.autonomy().clone(),
        };

        let outer = input::of(
            Asked {
                command: &call.command,
                body: &intent.payload,
                actor: input::caller(call),
                at,
                ticket: before,
                template,
                release: None,
                kill_switch_override: None,
            },
            &facts,
            &autonomy,
            &settings,
        );
        let begun = Instant::now();
        let decision = self.evaluate(&bundle, &outer)?;
        let brings = matches!(
            call.command,
            Command::UploadBundle(_) | Command::ActivateBundle(_)
        );
        let denied = mismatch.is_some() || decision.result == PolicyResult::Deny;
        if brings && brought.is_none() && !denied {
            tx.rollback().await?;
            return Err(Unrecorded::Unchecked);
        }
        if only_looks && !denied && in_scope(call) {
            tx.rollback().await?;
            return Err(Unrecorded::NotAlone);
        }
        let held = Held {
            at,
            before,
            facts: &facts,
            autonomy: &autonomy,
            settings: &settings,
            bundle: &bundle,
        };
        let inner = self.inner(call, about.as_ref(), &ids, &held)?;
        let anew = anew(call, about.as_ref(), &ids, &held)?;
        let evaluation_micros = begun.elapsed().as_micros().try_into().unwrap_or(u64::MAX);

        if mismatch.is_none()
            && let Some(asks) = asks_for(call, about.as_ref(), &decision)
        {
            let ticket = before.map(|ticket| ticket.id);
            let sha256 = held::sha256(&held::text(asks, ticket));
            facts.asked_before =
                command::asked_before(&mut tx, ticket, &call.actor.id, &sha256).await?;
        }
        let offered = facts.numbers;
        let outcome = judge::judge(Situation {
            call,
            at,
            ids: &ids,
            intent: &intent,
            mismatch: mismatch.as_ref(),
            ticket: ticket.as_deref(),
            facts: &mut facts,
            settings,
            bundle: &bundle,
            decision: &decision,
            target,
            route: inbound.as_ref().map(|inbound| inbound.route.clone()),
            about: about.as_ref(),
            inner: inner.as_ref().map(|inner| &inner.decision),
            inner_payload: inner.as_ref().map(|inner| &inner.input.body),
            anew: anew.as_ref().map(|anew| &anew.decision),
            overrides: inner
                .as_ref()
                .is_some_and(|inner| inner.input.kill_switch_override.is_some()),
            autonomy: &autonomy,
            brought,
        });
        let adds = adds(call, before, &outcome);
        let claims = match self.options.limiter.claim(payer, adds) {
            Ok(claims) => claims,
            Err(used_up) => {
                tx.rollback().await?;
                return Err(Unrecorded::UsedUp(used_up));
            }
        };
        let mut answer = answer::new(call, at, &ids, before, &outcome, &decision.reasons);
        // Read under the lock that a turn of a switch takes alone.
        answer.kill = by_itself.then(|| kill_state(&autonomy.switches, at, ids.ticket));
        if call.dry_run {
            tx.rollback().await?;
            return Ok(answer);
        }

        // What an approval carries out is on record as what it is, with the decision that let it
        // pass; who approved it stands beside it.
        let executes = matches!(call.command, Command::ExecuteApproval(_))
            && decision.result == PolicyResult::Allow
            && mismatch.is_none();
        let amends = matches!(call.command, Command::AmendApproval(_));
        let (carried_out, beside) = match inner {
            Some(inner) if executes => (Some(inner), None),
            // A last yes is on record as a yes, with the decision on what it released beside it; an
            // amendment as one, with the decision that wants people to be asked about that.
            Some(inner) if outcome.releases(&call.command) => (None, Some(inner)),
            Some(inner) if amends && outcome.accepted().is_some() => (None, Some(inner)),
            _ => (None, None),
        };
        let (operation, decision, input) = match carried_out {
            Some(inner) => {
                intent.carries_out(&inner.input);
                (inner.input.operation, inner.decision, inner.input)
            }
            None => (call.command.operation(), decision, outer),
        };
        let beside = match (&beside, &anew) {
            (Some(inner), _) => Some(inner.row(ids.beside, evaluation_micros)),
            // A change order takes effect with its last yes, or comes to nothing.
            (None, Some(anew)) if outcome.accepted().is_some() => {
                Some(anew.row(ids.beside, evaluation_micros))
            }
            (None, _) => None,
        };
        if let Some(beside) = &beside {
            intent.names(if amends { "amended" } else { "released" }, beside);
        }
        let event_seq = ticket.as_ref().map_or(0, |locked| locked.event_seq);
        let after = outcome.accepted().map(|decided| &decided.ticket);
        let decision = DecisionRow {
            decision: &decision,
            input: input::text(&input),
            evaluation_micros,
        };
        let body = intent::body(&call.command);
        let kept = self.kept(call, about.as_ref(), &outcome, before);
        let mut writes = match &outcome {
            Outcome::Accepted(decided) | Outcome::Held(decided) => {
                let fresh = || EventId::from_uuid(Uuid::now_v7());
                let mut writes = Writes::new(decided, before, event_seq, offered, &autonomy, fresh);
                let received = inbound.as_ref().and_then(|i| i.received(&decided.effects));
                if let Some(message) = received {
                    writes.receive(message);
                }
                Some(writes)
            }
            Outcome::Filed(filing) if !filing.writes => None,
            Outcome::Filed(filing) => Some(match inbound.as_ref().and_then(|i| i.held(filing)) {
                Some(message) => Writes::of_message(message),
                None => Writes::of_filing(filing, &body),
            }),
            Outcome::Refused(_) => None,
        };
        if let (Some(writes), Some(kept)) = (&mut writes, &kept) {
            writes.hold(kept.row());
        }
        if let (Some(writes), Outcome::Accepted(_)) = (&mut writes, &outcome)
            && let Some(counted) = counted(call, at, bundle.autonomy())
        {
            writes.count(counted);
        }
        let heard = writes.as_ref().is_some_and(Writes::reaches_workflow);
        let attempt = Attempt {
            // What an approval carries out is on record as what it is.
            audit: AuditRow {
                operation: operation.to_string(),
                ..audit_row(call, at, &ids, &intent, &decision, before, &outcome)
            },
            decision,
            beside,
            trace: &call.trace,
            event_seq,
            key_operation: call.command.operation(),
            ticket: after.filter(|after| Some(*after) != before),
            writes,
            answer: outcome.is_stored(call).then_some(StoredAnswer {
                intent_sha256: intent.sha256,
                status: answer.status,
                body: &answer.body,
            }),
        };
        if matches!(call.command, Command::EraseTenant(_)) {
            tx.allow(ERASURE).await?;
        }
        self.write(&mut tx, attempt).await?;
        failpoint::hit(failpoint::BEFORE_COMMIT);
        tx.commit().await?;
        failpoint::hit(failpoint::AFTER_COMMIT_BEFORE_REPLY);
        claims.keep();
        if let (Some(before), Some(after)) = (before, after) {
            let open = |ticket: &Ticket| i64::from(!ticket.state.is_terminal());
            (self.options.limiter).turned(payer, open(after) - open(before));
        }
        if let (Some(turn), Some(after)) = (&turn, after) {
            turn.saw(after.version);
        }
        if heard {
            self.waker.wake();
        }
        Ok(answer)
    }

    /// The bundle that an upload brings along, or that is to be activated, checked as one that may
    /// decide.
    async fn brought(&self, command: &Command) -> Result<Brought, NoBundle> {
        match command {
            Command::UploadBundle(body) => {
                checked(self.bundles.admit(&body.archive).await.map(Some))
            }
            Command::ActivateBundle(body) => {
                let place = Place::Pool(&self.pool);
                checked(self.bundles.readmit(place, &body.sha256).await)
            }
            _ => Ok(Ok(None)),
        }
    }

    /// What policy says to the command that an approval holds: when it is to be carried out, with
    /// the votes that there are (and the one that is being given), or as it shall be amended.
    fn inner(
        &self,
        call: &Call,
        about: Option<&About>,
        ids: &Minted,
        held: &Held<'_>,
    ) -> Result<Option<Inner>, Unrecorded> {
        let (Some(about), Some(approval)) = (about, &held.facts.approval) else {
            return Ok(None);
        };
        let amends = matches!(call.command, Command::AmendApproval(_));
        let command = match about.carries_out(call) {
            Some(command) => command,
            None if amends => match about.inner() {
                Some(command) => command,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        let approval = match &call.command {
            Command::DecideApproval(_) => match decided(call, approval, ids, held) {
                Some(decided) => decided,
                None => return Ok(None),
            },
            _ => approval.clone(),
        };
        let template = judge::template(command, held.before, held.bundle);
        let payload = Intent::of_held(command, template);
        // What stops all tenants is overridden by those who may turn it.
        let everything = KillScope::Everything.key();
        let mut stops_all = held.autonomy.switches.iter();
        let stops_all = stops_all.any(|it| it.scope == everything && it.stops(held.at));
        let may = !stops_all || call.actor.roles.contains(&Role::PlatformAdmin);
        let kill_switch_override = match &call.command {
            Command::ExecuteApproval(body) if may && !call.actor.kind.is_autonomous() => {
                body.override_kill_switch.clone()
            }
            _ => None,
        };
        let input = input::of(
            Asked {
                command,
                body: &payload,
                actor: about.proposer(),
                at: held.at,
                ticket: held.before,
                template,
                release: (!amends).then(|| held::release(&approval, about.proposer())),
                kill_switch_override,
            },
            held.facts,
            held.autonomy,
            held.settings,
        );
        let decision = self.evaluate(held.bundle, &input)?;
        Ok(Some(Inner { input, decision }))
    }

    /// The command that an approval is to hold from now on, as it was sent.
    fn kept(
        &self,
        call: &Call,
        about: Option<&About>,
        outcome: &Outcome,
        before: Option<&Ticket>,
    ) -> Option<Kept> {
        let ticket = before.map(|ticket| ticket.id);
        if let Some(approval) = outcome.held() {
            let text = held::text(&call.command, ticket);
            return Some(Kept {
                approval_id: approval.id,
                version: approval.version,
                operation: approval.operation,
                sha256: held::sha256(&text),
                text,
                proposer: input::caller(call),
            });
        }
        let about = about?;
        let inner = about.inner()?;
        let Command::AmendApproval(_) = &call.command else {
            return None;
        };
        outcome
            .accepted()?
            .effects
            .iter()
            .find_map(|effect| match effect {
                domain::Effect::WriteApproval(approval) => {
                    let text = held::text(inner, ticket);
                    Some(Kept {
                        approval_id: approval.id,
                        version: approval.version,
                        operation: approval.operation,
                        sha256: held::sha256(&text),
                        text,
                        proposer: about.proposer(),
                    })
                }
                _ => None,
            })
    }

    fn evaluate(
        &self,
        bundle: &Bundle,
        input: &contracts::policy::PolicyInput,
    ) -> Result<PolicyDecision, Unrecorded> {
        #[cfg(feature = "bench")]
        if self.options.without.policy {
            return Ok(PolicyDecision {
                result: contracts::policy::PolicyResult::Allow,
                reasons: Vec::new(),
                obligations: Vec::new(),
                approval: None,
                bundle: bundle.reference().clone(),
            });
        }
        Ok(bundle.evaluate(input)?)
    }

    async fn write(&self, tx: &mut TenantTx, attempt: Attempt<'_>) -> Result<(), store::Error> {
        #[cfg(feature = "bench")]
        if self.options.without.chain {
            return command::commit_unchained(tx, attempt).await;
        }
        command::commit(tx, attempt).await
    }
}

/// Whether the credential is good for the command.
fn in_scope(call: &Call) -> bool {
    let needed = ApiPermission::Command(call.command.operation());
    call.scopes.include(needed)
}

fn is_urgent(command: &Command) -> bool {
    limits::URGENT.contains(&command.operation())
}

/// What the tenant has more of once this is carried out.
fn adds(call: &Call, before: Option<&Ticket>, outcome: &Outcome) -> Adds {
    let opens = before.is_none() && outcome.accepted().is_some();
    let writes = outcome.accepted().is_some() || outcome.filed().is_some_and(|it| it.writes);
    Adds {
        tickets: opens.into(),
        bytes: if writes {
            limits::kept_bytes(&call.command)
        } else {
            0
        },
    }
}

/// The command that people will be asked about after this attempt.
fn asks_for<'a>(
    call: &'a Call,
    about: Option<&'a About>,
    decision: &PolicyDecision,
) -> Option<&'a Command> {
    let command = &call.command;
    if let Command::AmendApproval(_) = command {
        return about?.inner();
    }
    let held = decision.result == PolicyResult::RequireApproval;
    (held && ApprovalKind::of_held(command.operation()).is_some()).then_some(command)
}

/// What a check found out about a bundle, unless it could not be made.
fn checked(result: Result<Option<Arc<Bundle>>, NoBundle>) -> Result<Brought, NoBundle> {
    match result {
        Ok(bundle) => Ok(Ok(bundle)),
        Err(passing) if passing.is_passing() => Err(passing),
        Err(refused) => Ok(Err(refused.to_string())),
    }
}

/// The approval with the word that is being given. What is none is refused by the domain.
fn decided(call: &Call, approval: &Approval, ids: &Minted, held: &Held<'_>) -> Option<Approval> {
    let who = judge::who(call, held.at, ids, held.facts);
    let acted = domain::approval::act(&call.command, approval, &who).ok()?;
    Some(acted.approval)
}

/// What the active bundle says to a change order at its last yes, when another one let it be asked for.
fn anew(
    call: &Call,
    about: Option<&About>,
    ids: &Minted,
    held: &Held<'_>,
) -> Result<Option<Anew>, Unrecorded> {
    let (Some(about), Some(approval), Command::DecideApproval(_)) =
        (about, &held.facts.approval, &call.command)
    else {
        return Ok(None);
    };
    let decided = decided(call, approval, ids, held);
    let last = decided.filter(|it| it.state == ApprovalState::Approved);
    let Some(input) = last.and_then(|it| about.asked_anew(held.bundle.reference(), &it)) else {
        return Ok(None);
    };
    let input = input?;
    let decision = held.bundle.evaluate_recorded(&input)?;
    Ok(Some(Anew { input, decision }))
}

/// What the decision on a held command depends on.
struct Held<'a> {
    at: DateTime<Utc>,
    before: Option<&'a Ticket>,
    facts: &'a OpenFacts,
    autonomy: &'a Autonomy,
    settings: &'a TenantSettings,
    bundle: &'a Bundle,
}

/// What policy was asked about a held command, and its answer.
struct Inner {
    input: PolicyInput,
    decision: PolicyDecision,
}

impl Inner {
    fn row(&self, id: DecisionId, evaluation_micros: u64) -> BesideRow<'_> {
        BesideRow {
            id,
            operation: self.input.operation,
            decision: DecisionRow {
                decision: &self.decision,
                input: input::text(&self.input),
                evaluation_micros,
            },
        }
    }
}

/// What policy was asked about a change order once more, and its answer.
struct Anew {
    /// Canonical text.
    input: String,
    decision: PolicyDecision,
}

impl Anew {
    fn row(&self, id: DecisionId, evaluation_micros: u64) -> BesideRow<'_> {
        BesideRow {
            id,
            operation: Operation::RequestChange,
            decision: DecisionRow {
                decision: &self.decision,
                input: self.input.clone(),
                evaluation_micros,
            },
        }
    }
}

/// A command that is to be kept.
struct Kept {
    approval_id: ApprovalId,
    version: u32,
    operation: Operation,
    text: String,
    sha256: String,
    proposer: PolicyActor,
}

impl Kept {
    fn row(&self) -> HeldCommand<'_> {
        HeldCommand {
            approval_id: self.approval_id,
            version: self.version,
            operation: self.operation,
            command: &self.text,
            sha256: &self.sha256,
            proposer: &self.proposer,
        }
    }
}

fn clock_hour(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}

/// What is counted of a command that software carries out by itself.
fn counted(call: &Call, at: DateTime<Utc>, rules: &AutonomyRules) -> Option<Counted> {
    let operation = call.command.operation();
    let by_itself = call.actor.kind.is_autonomous() && !rules.bookkeeping.contains(&operation);
    let acts =
        matches!(operation.class(), CommandClass::Change) || operation == Operation::CommsOutbound;
    (by_itself && acts).then(|| {
        let caps = &rules.caps;
        let of_operation = caps.of_operation_per_hour.get(&operation);
        Counted {
            hour: clock_hour(at),
            hour_of_operation: clock_hour(asks::takes_effect_at(&call.command, at)),
            operation,
            spends_cents: input::spends_cents(&call.command),
            most: caps.commands_per_hour,
            most_of_operation: of_operation.copied().unwrap_or(caps.commands_per_hour),
            most_cents: caps.spend_cents_per_hour,
        }
    })
}

/// The ids of one attempt, UUIDv7. Those that are not used are lost.
struct Minted {
    command: CommandId,
    decision: DecisionId,
    /// For the decision on what a last yes released, or an amendment asks for.
    beside: DecisionId,
    audit: AuditId,
    /// The ticket that is meant, or the one to be created.
    ticket: TicketId,
    /// For a thing that is no ticket and new.
    fresh: Uuid,
    rows: FreshIds,
}

impl Minted {
    fn new(target: Option<TicketId>) -> Self {
        let id = Uuid::now_v7;
        Self {
            command: CommandId::from_uuid(id()),
            decision: DecisionId::from_uuid(id()),
            beside: DecisionId::from_uuid(id()),
            audit: AuditId::from_uuid(id()),
            ticket: target.unwrap_or_else(|| TicketId::from_uuid(id())),
            fresh: id(),
            rows: FreshIds {
                visit: VisitId::from_uuid(id()),
                approval: contracts::ApprovalId::from_uuid(id()),
                note: NoteId::from_uuid(id()),
                proposal: ProposalId::from_uuid(id()),
                invoice: InvoiceId::from_uuid(id()),
                evidence: EvidenceId::from_uuid(id()),
                message: MessageId::from_uuid(id()),
                comment: CommentId::from_uuid(id()),
                ended: MessageId::from_uuid(id()),
            },
        }
    }
}

fn audit_row(
    call: &Call,
    at: DateTime<Utc>,
    ids: &Minted,
    intent: &Intent,
    decision: &DecisionRow<'_>,
    before: Option<&Ticket>,
    outcome: &Outcome,
) -> AuditRow {
    let accepted = outcome.accepted();
    let after = accepted.map(|decided| &decided.ticket).or(before);
    let mut payload = intent.payload.clone();
    // An attempt on a ticket that is not there belongs to the actor's stream; a refused creation
    // too.
    let filing = outcome.filed();
    let (stream, ticket_id) = match (after, filing.and_then(|f| filing_stream(&f.filed))) {
        (Some(_), _) => (ticket_stream(ids.ticket), Some(ids.ticket)),
        (None, Some(stream)) => (stream, None),
        (None, None) => (actor_stream(&call.actor.id), None),
    };
    let versions = filing.map_or_else(
        || {
            (
                before.map_or(0, |ticket| ticket.version),
                after.map_or(0, |ticket| ticket.version),
            )
        },
        |filing| (filing.applied_to_version, filing.produced_version),
    );
    if let (Some(home), Some(payload)) = (call.home, payload.as_object_mut()) {
        payload.insert("of_tenant".into(), home.to_string().into());
    }
    if let (Some(list), Some(payload)) = (&call.of_list, payload.as_object_mut()) {
        payload.insert("of_list".into(), list.clone().into());
    }
    if let (None, Some(asked), Some(payload)) = (after, call.ticket_id, payload.as_object_mut()) {
        payload.insert("ticket_id".into(), asked.to_string().into());
    }
    AuditRow {
        id: ids.audit,
        tenant_id: call.actor.tenant_id,
        stream,
        ticket_id,
        command_id: ids.command,
        decision_id: ids.decision,
        decision_sha256: decision.sha256(),
        bundle_sha256: decision.decision.bundle.sha256.clone(),
        request_id: call.request_id.clone(),
        correlation_id: call.correlation_id.to_string(),
        trace_id: call.trace.trace_id().to_owned(),
        actor_id: call.actor.id.clone(),
        actor_kind: call.actor.kind.to_string(),
        actor_roles: call.actor.roles.iter().map(ToString::to_string).collect(),
        tool_name: call.tool_name.clone(),
        operation: call.command.operation().to_string(),
        at,
        refused: outcome.refused().map(|refusal| refusal.code.to_string()),
        before: before.map(|ticket| ticket.state.to_string()),
        after: after.map(|ticket| ticket.state.to_string()),
        applied_to_version: versions.0,
        produced_version: versions.1,
        payload,
        changes: match outcome {
            Outcome::Accepted(decided) | Outcome::Held(decided) => {
                serde_json::to_value(&decided.changes)
            }
            Outcome::Filed(filing) => serde_json::to_value([&filing.filed]),
            Outcome::Refused(_) => Ok(serde_json::json!([])),
        }
        .expect("changes hold strings and integers"),
    }
}
