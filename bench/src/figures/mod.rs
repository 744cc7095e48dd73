//! One file per figure of the quality plan.

pub mod auth;
pub mod r1;
pub mod r10;
pub mod r11;
pub mod r13;
pub mod r14;
pub mod r1c;
pub mod r1p;
pub mod r3;
pub mod r4;
pub mod r5;
pub mod r6;
pub mod r7;
pub mod r7c;
pub mod r9;
