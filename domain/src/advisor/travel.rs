//! How long it takes to get there.
//!
//! The great-circle distance by the haversine formula (R. W. Sinnott, "Virtues of the Haversine",
//! Sky and Telescope 68 (2), 1984, p. 159) on a sphere of the earth's mean radius, 6 371 km
//! (IUGG R1), times a detour factor of 1.3 for roads, at an assumed 40 km/h door to door. It is an
//! estimate for ranking, not a route. The distance is rounded to whole metres before anything is
//! derived from it; all later arithmetic is on integers.

use contracts::schedule::GeoPoint;

const EARTH_RADIUS_METRES: f64 = 6_371_000.0;
const DETOUR_PERCENT: i64 = 130;
const METRES_PER_HOUR: i64 = 40_000;

/// Great-circle distance in metres.
fn metres(from: GeoPoint, to: GeoPoint) -> i64 {
    let radians = |e6: i32| (f64::from(e6) / 1e6).to_radians();
    let half_sine_squared = |angle: f64| (angle / 2.0).sin().powi(2);
    let (lat_from, lat_to) = (radians(from.lat_e6), radians(to.lat_e6));
    let h = half_sine_squared(lat_to - lat_from)
        + lat_from.cos()
            * lat_to.cos()
            * half_sine_squared(radians(to.lon_e6) - radians(from.lon_e6));
    // Rounding may carry the sum of squares just above 1 for points opposite each other.
    let distance = 2.0 * EARTH_RADIUS_METRES * h.sqrt().min(1.0).asin();
    distance.round() as i64
}

/// Minutes on the road, rounded up.
pub(super) fn minutes(from: GeoPoint, to: GeoPoint) -> i64 {
    let road_metres_times_100 = metres(from, to) * DETOUR_PERCENT;
    let minutes_times_hundred_speed = road_metres_times_100 * 60;
    let per_minute = METRES_PER_HOUR * 100;
    minutes_times_hundred_speed.div_euclid(per_minute)
        + i64::from(minutes_times_hundred_speed.rem_euclid(per_minute) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMSTERDAM: GeoPoint = GeoPoint {
        lat_e6: 52_379_189,
        lon_e6: 4_899_431,
    };
    const UTRECHT: GeoPoint = GeoPoint {
        lat_e6: 52_090_736,
        lon_e6: 5_121_420,
    };

    #[test]
    fn the_distance_is_the_one_on_the_map() {
        // One degree of a meridian is 2πR/360 = 111.195 km.
        let equator = GeoPoint {
            lat_e6: 0,
            lon_e6: 0,
        };
        let north = GeoPoint {
            lat_e6: 1_000_000,
            lon_e6: 0,
        };
        assert_eq!(metres(equator, north), 111_195);
        let between_cities = metres(AMSTERDAM, UTRECHT);
        assert!(
            (35_000..36_000).contains(&between_cities),
            "{between_cities}"
        );
    }

    #[test]
    fn opposite_ends_of_the_earth_are_half_its_circumference_apart() {
        let at = |lat_e6, lon_e6| GeoPoint { lat_e6, lon_e6 };
        let half = metres(at(0, 0), at(0, 180_000_000));
        assert_eq!(half, 20_015_087);
        assert_eq!(metres(at(90_000_000, 0), at(-90_000_000, 77)), half);
    }

    #[test]
    fn a_begun_minute_counts() {
        assert_eq!(minutes(AMSTERDAM, AMSTERDAM), 0);
        let next_door = GeoPoint {
            lat_e6: AMSTERDAM.lat_e6 + 20,
            ..AMSTERDAM
        };
        assert_eq!(minutes(AMSTERDAM, next_door), 1);
        // 35.4 km by air are 46.1 km by road: 69.1 minutes at 40 km/h.
        assert_eq!(minutes(AMSTERDAM, UTRECHT), minutes(UTRECHT, AMSTERDAM));
        assert_eq!(minutes(AMSTERDAM, UTRECHT), 70);
    }
}
