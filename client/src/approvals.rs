//! Approvals: the inbox, one approval, what is done with it, and rights that are lent.

use contracts::{
    ApprovalId, Operation,
    approval::ApprovalState,
    command::{
        AmendApproval, ChangeApprovalDue, ClaimApproval, CommandBody, CommandReceipt,
        CommentApproval, DecideApproval, DelegateApprovals, ReleaseApproval, RevokeDelegation,
        TakeOverApproval, WithdrawApproval,
    },
    filing::{Filed, FilingReceipt},
    inbox::{
        ApprovalDetail, ApprovalFilter, ApprovalPage, DecideMany, DecidedMany, DelegationList,
    },
};
use serde::{Deserialize, Serialize};

use crate::{CallOptions, Client, ClientError, client::Request, reads::Parameters};

/// The answer to a command on an approval.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum ApprovalAnswer {
    /// It has a ticket: what that is now.
    OfTicket(Box<CommandReceipt>),
    /// It has none.
    OfNone(Box<FilingReceipt>),
}

impl ApprovalAnswer {
    /// Where the approval stands now.
    pub fn state(&self) -> Option<ApprovalState> {
        match self {
            Self::OfTicket(receipt) => receipt.approval_state,
            Self::OfNone(receipt) => match receipt.filed {
                Filed::ApprovalChanged { state, .. } => Some(state),
                _ => None,
            },
        }
    }

    /// Whether nothing was changed, because it was a trial.
    pub fn dry_run(&self) -> bool {
        match self {
            Self::OfTicket(receipt) => receipt.dry_run,
            Self::OfNone(receipt) => receipt.dry_run,
        }
    }
}

macro_rules! about_approvals {
    ($($(#[$doc:meta])* $method:ident = $body:ident;)+) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $method(
                &self,
                body: &$body,
                options: &CallOptions,
            ) -> Result<ApprovalAnswer, ClientError> {
                let about = body.approval_id.to_string();
                self.send_about($body::OPERATION, Some(about), body, options).await
            })+
        }
    };
}

about_approvals! {
    /// Says yes or no to an approval, wherever it belongs.
    decide = DecideApproval;
    /// Works on an approval: others are told so.
    claim_approval = ClaimApproval;
    /// Works on it no longer.
    release_approval = ReleaseApproval;
    /// Works on it in somebody's place.
    take_over_approval = TakeOverApproval;
    /// Changes what it asks for.
    amend_approval = AmendApproval;
    /// Takes it back.
    withdraw_approval = WithdrawApproval;
    /// Gives it more or less time.
    change_approval_due = ChangeApprovalDue;
    /// Says something about it.
    comment_approval = CommentApproval;
}

impl Client {
    /// A page of the inbox, the least time left first.
    pub async fn approvals(&self, filter: &ApprovalFilter) -> Result<ApprovalPage, ClientError> {
        let query = Parameters::default()
            .list("state", &filter.state)
            .list("kind", &filter.kind)
            .list("role", &filter.role)
            .list("operation", &filter.operation)
            .one("ticket", filter.ticket_id)
            .one("mine", filter.mine.then_some(true))
            .one("waiting_minutes", filter.waiting_minutes)
            .one("sla_at_risk", filter.sla_at_risk.then_some(true))
            .one("sla_within_minutes", filter.sla_within_minutes)
            .one("cursor", filter.cursor.as_ref())
            .one("limit", filter.limit);
        self.read("api/v1/approvals", query.0).await
    }

    /// One approval with all that its approver needs.
    pub async fn approval(&self, id: ApprovalId) -> Result<ApprovalDetail, ClientError> {
        self.call(&Request::get(format!("api/v1/approvals/{id}")))
            .await
    }

    /// Decides many at once; each has an outcome of its own.
    pub async fn decide_many(
        &self,
        body: &DecideMany,
        options: &CallOptions,
    ) -> Result<DecidedMany, ClientError> {
        self.post("/approvals/decide", body, options).await
    }

    /// Lends one's right to decide approvals to somebody.
    pub async fn delegate_approvals(
        &self,
        body: &DelegateApprovals,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.filing(Operation::DelegateApprovals, body, options)
            .await
    }

    /// Takes it back.
    pub async fn revoke_delegation(
        &self,
        body: &RevokeDelegation,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.filing(Operation::RevokeDelegation, body, options)
            .await
    }

    /// Rights to decide that were lent.
    pub async fn delegations(&self) -> Result<DelegationList, ClientError> {
        self.call(&Request::get("api/v1/delegations")).await
    }
}
