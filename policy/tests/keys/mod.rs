//! Keys of these tests and of nothing else: they stand in the repository.
#![allow(dead_code, reason = "each test program uses some of them")]

/// Signs.
pub const PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEILAK4Jvx4hYKth2UG8RX5Vr8JaTuWWHJGwxun+7ZvLWD
-----END PRIVATE KEY-----
";

/// Verifies what [`PRIVATE`] signed.
pub const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAR1pOujfjQREboAYhthiHLkEfMRW2SzFTI9gd+meFO3U=
-----END PUBLIC KEY-----
";

/// Somebody else's.
pub const OTHER_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINt/C4TZlfHWYws4s5kIMBFKvgsOymp5qjVJ4L7spkbu
-----END PRIVATE KEY-----
";

/// Verifies what [`OTHER_PRIVATE`] signed.
pub const OTHER_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA7oJITsbum0RFikvy8nYoW3tO33JHQKik2WBkSjpJo5c=
-----END PUBLIC KEY-----
";
