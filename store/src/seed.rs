//! A tenant with places, things and people: for `dispatch dev`, the demo and the tests.
//!
//! Every id is derived from the tenant's (UUIDv5), so seeding twice changes nothing and a program
//! knows the ids without asking. Names and numbers are invented. Runs as `dispatch_owner`.

use contracts::{
    AssetId, ContactId, SiteId, TechnicianId, TenantId,
    schedule::{GeoPoint, QuietHours, TenantSettings, WorkCalendar},
};
use sqlx::{PgConnection, PgPool, types::Json};
use uuid::Uuid;

use crate::Error;

/// The tenants of `dispatch dev`, by name.
pub const DEMO_TENANTS: [&str; 2] = ["canal_glass", "harbour_doors"];

/// What was seeded, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SeededTenant {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub slug: String,
    /// Three places; the first is the nearest to the first technician.
    pub sites: Vec<SiteId>,
    /// Two per site, in the order of the sites: a door, a pane.
    pub assets: Vec<AssetId>,
    /// One per site.
    pub contacts: Vec<ContactId>,
    /// Four people: glazing and doors at any hour; glazing; doors; installation. The last three
    /// work in office hours.
    pub technicians: Vec<TechnicianId>,
}

struct Place {
    code: &'static str,
    at: GeoPoint,
    contact: &'static str,
    phone: &'static str,
    street: &'static str,
}

const PLACES: [Place; 3] = [
    Place {
        code: "canal_house",
        at: point(52_370_200, 4_895_200),
        contact: "Robin Vermeer",
        phone: "+31205550101",
        street: "Keizersgracht 1, Amsterdam",
    },
    Place {
        code: "station_shops",
        at: point(52_378_900, 4_900_500),
        contact: "Sam Bakker",
        phone: "+31205550102",
        street: "Stationsplein 9, Amsterdam",
    },
    Place {
        code: "airport_depot",
        at: point(52_308_600, 4_763_900),
        contact: "Noor Visser",
        phone: "+31205550103",
        street: "Evert van de Beekstraat 202, Schiphol",
    },
];

const ASSET_KINDS: [&str; 2] = ["automatic_door", "shopfront_pane"];

struct Person {
    title: &'static str,
    name: &'static str,
    phone: &'static str,
    skills: &'static [&'static str],
    base: GeoPoint,
    any_hour: bool,
}

static PEOPLE: [Person; 4] = [
    Person {
        title: "glazier on call",
        name: "Jip de Jong",
        phone: "+31655500201",
        skills: &["glazing", "door_repair"],
        base: point(52_366_700, 4_904_100),
        any_hour: true,
    },
    Person {
        title: "glazier",
        name: "Alex Mulder",
        phone: "+31655500202",
        skills: &["glazing"],
        base: point(52_391_000, 4_887_400),
        any_hour: false,
    },
    Person {
        title: "door mechanic",
        name: "Mika Smit",
        phone: "+31655500203",
        skills: &["door_repair"],
        base: point(52_343_200, 4_851_900),
        any_hour: false,
    },
    Person {
        title: "fitter",
        name: "Lou Peters",
        phone: "+31655500204",
        skills: &["installation", "door_repair"],
        base: point(52_302_500, 4_942_000),
        any_hour: false,
    },
];

const fn point(lat_e6: i32, lon_e6: i32) -> GeoPoint {
    GeoPoint { lat_e6, lon_e6 }
}

/// The id of a demo tenant.
pub fn demo_tenant_id(slug: &str) -> TenantId {
    let name = format!("https://real-dispatch.example/demo/{slug}");
    TenantId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
}

/// Monday to Friday, eight to half past five.
pub fn office_hours() -> WorkCalendar {
    let day = vec![(8 * 60, 17 * 60 + 30)];
    WorkCalendar {
        time_zone: "Europe/Amsterdam".into(),
        week: [vec![day; 5], vec![Vec::new(); 2]].concat(),
        days_off: Vec::new(),
    }
}

fn any_hour() -> WorkCalendar {
    WorkCalendar {
        time_zone: "Europe/Amsterdam".into(),
        week: vec![vec![(0, 24 * 60)]; 7],
        days_off: Vec::new(),
    }
}

impl SeededTenant {
    /// The ids that a tenant of this id has once it is seeded.
    pub fn of(tenant_id: TenantId, slug: &str) -> Self {
        let id = |what: &str, i: usize| {
            Uuid::new_v5(&tenant_id.as_uuid(), format!("{what}/{i}").as_bytes())
        };
        let ids = |what: &'static str, n: usize| (0..n).map(move |i| id(what, i));
        Self {
            tenant_id,
            slug: slug.to_owned(),
            sites: ids("site", PLACES.len()).map(SiteId::from_uuid).collect(),
            assets: ids("asset", PLACES.len() * ASSET_KINDS.len())
                .map(AssetId::from_uuid)
                .collect(),
            contacts: ids("contact", PLACES.len())
                .map(ContactId::from_uuid)
                .collect(),
            technicians: ids("technician", PEOPLE.len())
                .map(TechnicianId::from_uuid)
                .collect(),
        }
    }
}

/// What the technicians are, in the order of [`SeededTenant::technicians`]: for a screen, where a
/// name has no place.
pub fn technician_titles() -> [&'static str; 4] {
    PEOPLE.each_ref().map(|person| person.title)
}

/// The demo plays a day at any hour of the clock, and its customers are awake.
const NEVER: QuietHours = QuietHours {
    from_minute: 0,
    until_minute: 0,
};

/// Seeds the tenants of `dispatch dev`.
pub async fn demo(owner: &PgPool) -> Result<Vec<SeededTenant>, Error> {
    let mut seeded = Vec::new();
    for slug in DEMO_TENANTS {
        let id = demo_tenant_id(slug);
        seeded.push(tenant_with(owner, id, slug, Some(NEVER)).await?);
    }
    Ok(seeded)
}

/// Seeds one tenant under an id of the caller's choice; `slug` must be new or this tenant's.
pub async fn tenant(
    owner: &PgPool,
    tenant_id: TenantId,
    slug: &str,
) -> Result<SeededTenant, Error> {
    tenant_with(owner, tenant_id, slug, None).await
}

async fn tenant_with(
    owner: &PgPool,
    tenant_id: TenantId,
    slug: &str,
    quiet_hours: Option<QuietHours>,
) -> Result<SeededTenant, Error> {
    let seeded = SeededTenant::of(tenant_id, slug);
    let mut tx = owner.begin().await?;
    sqlx::query("select set_config('app.tenant_id', $1, true)")
        .bind(tenant_id.as_uuid().to_string())
        .execute(&mut *tx)
        .await?;
    let settings = TenantSettings {
        calendar: office_hours(),
        currency: "EUR".into(),
        quiet_hours,
    };
    sqlx::query(
        "insert into tenants (tenant_id, slug, settings) values ($1, $2, $3)
         on conflict (tenant_id) do nothing",
    )
    .bind(tenant_id.as_uuid())
    .bind(slug)
    .bind(Json(settings))
    .execute(&mut *tx)
    .await?;
    places(&mut tx, &seeded).await?;
    people(&mut tx, &seeded).await?;
    tx.commit().await?;
    Ok(seeded)
}

async fn places(tx: &mut PgConnection, seeded: &SeededTenant) -> Result<(), Error> {
    let tenant = seeded.tenant_id.as_uuid();
    let assets = seeded.assets.chunks(ASSET_KINDS.len());
    for (((place, site), contact), assets) in PLACES
        .iter()
        .zip(&seeded.sites)
        .zip(&seeded.contacts)
        .zip(assets)
    {
        sqlx::query(
            "insert into sites (tenant_id, id, code, lat_e6, lon_e6) values ($1, $2, $3, $4, $5)
             on conflict do nothing",
        )
        .bind(tenant)
        .bind(site.as_uuid())
        .bind(place.code)
        .bind(place.at.lat_e6)
        .bind(place.at.lon_e6)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into contacts (tenant_id, id, site_id, name, phone, street, code)
             values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
        )
        .bind(tenant)
        .bind(contact.as_uuid())
        .bind(site.as_uuid())
        .bind(place.contact)
        .bind(place.phone)
        .bind(place.street)
        .bind(format!("{}_contact", place.code))
        .execute(&mut *tx)
        .await?;
        for (asset, kind) in assets.iter().zip(ASSET_KINDS) {
            sqlx::query(
                "insert into assets (tenant_id, id, site_id, kind, code)
                 values ($1, $2, $3, $4, $5) on conflict do nothing",
            )
            .bind(tenant)
            .bind(asset.as_uuid())
            .bind(site.as_uuid())
            .bind(kind)
            .bind(format!("{}_{kind}", place.code))
            .execute(&mut *tx)
            .await?;
        }
    }
    Ok(())
}

async fn people(tx: &mut PgConnection, seeded: &SeededTenant) -> Result<(), Error> {
    let tenant = seeded.tenant_id.as_uuid();
    for (number, (person, technician)) in (1..).zip(PEOPLE.iter().zip(&seeded.technicians)) {
        let contact = Uuid::new_v5(&technician.as_uuid(), b"contact");
        sqlx::query(
            "insert into contacts (tenant_id, id, name, phone, code) values ($1, $2, $3, $4, $5)
             on conflict do nothing",
        )
        .bind(tenant)
        .bind(contact)
        .bind(person.name)
        .bind(person.phone)
        .bind(format!("technician_{number}_contact"))
        .execute(&mut *tx)
        .await?;
        let calendar = if person.any_hour {
            any_hour()
        } else {
            office_hours()
        };
        sqlx::query(
            "insert into technicians
                 (tenant_id, id, contact_id, skills, base_lat_e6, base_lon_e6, calendar, code)
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing",
        )
        .bind(tenant)
        .bind(technician.as_uuid())
        .bind(contact)
        .bind(person.skills)
        .bind(person.base.lat_e6)
        .bind(person.base.lon_e6)
        .bind(Json(calendar))
        .bind(format!("technician_{number}"))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_follow_from_the_tenant() {
        let one = SeededTenant::of(demo_tenant_id("a"), "a");
        assert_eq!(one, SeededTenant::of(demo_tenant_id("a"), "a"));
        let other = SeededTenant::of(demo_tenant_id("b"), "b");
        let ids: BTreeSet<_> = one.sites.iter().chain(&other.sites).collect();
        assert_eq!(ids.len(), 2 * PLACES.len());
    }

    #[test]
    fn calendars_have_seven_days() {
        assert_eq!(office_hours().week.len(), 7);
        assert_eq!(any_hour().week.len(), 7);
    }
}
