use super::*;

#[test]
fn longest_is_thirty_days() {
    assert_eq!(LONGEST.num_days(), 30);
}
