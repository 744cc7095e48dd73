//! The lower confidence bound of a share (Wilson score, 95 %).
//!
//! It says less than the share itself where there is little to go by: ten of ten are no proof of
//! 100 %. Computed in whole numbers, so that every machine prints the same report.

/// z² for 95 % (z = 1.959964), in millionths.
const Z2: u128 = 3_841_459;
const MILLION: u128 = 1_000_000;

/// The lower bound of `hits` among `all`, in thousandths, rounded down; 0 of nothing.
pub fn lower_bound_permille(hits: u64, all: u64) -> u32 {
    if all == 0 {
        return 0;
    }
    let (k, n) = (u128::from(hits.min(all)), u128::from(all));
    // (2k + z² − z·√(z² + 4k(n−k)/n)) / (2(n + z²)), with everything in millionths.
    let under_root = Z2 * Z2 + Z2 * (4 * k * (n - k) * MILLION / n + 1);
    let root = under_root.isqrt() + 1;
    let above = (2 * k * MILLION + Z2).saturating_sub(root);
    let below = 2 * (n * MILLION + Z2);
    u32::try_from(above * 1000 / below).unwrap_or(1000)
}
