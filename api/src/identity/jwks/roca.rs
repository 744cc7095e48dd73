//! RSA moduli of a faulty key generator (CVE-2017-15361), whose factors can be found from the
//! public key.

/// Primes modulo which 65537 generates only a part of what there is.
const PRIMES: [u32; 17] = [
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
];

/// Whether the modulus is a power of 65537 modulo each of those primes. Others are so once in some
/// hundred million.
pub(super) fn has_the_fingerprint(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let rest = modulus
            .iter()
            .fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let mut power = 1;
        loop {
            if power == rest {
                return true;
            }
            power = power * 65537 % prime;
            if power == 1 {
                return false;
            }
        }
    })
}
