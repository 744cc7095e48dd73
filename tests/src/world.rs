//! What a tenant has before the first ticket.

use contracts::{AssetId, ContactId, SiteId, TechnicianId, TenantId};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

/// A tenant with a site, a door, a contact and three glaziers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Where the work is.
    pub site: SiteId,
    /// What breaks.
    pub asset: AssetId,
    /// Who calls.
    pub contact: ContactId,
    /// Who is sent.
    pub technicians: [TechnicianId; 3],
}

impl Tenant {
    /// Seeds a tenant, as superuser.
    pub async fn seed(admin: &PgPool) -> Self {
        let id = Uuid::now_v7;
        let tenant = Self {
            id: TenantId::from_uuid(id()),
            site: SiteId::from_uuid(id()),
            asset: AssetId::from_uuid(id()),
            contact: ContactId::from_uuid(id()),
            technicians: std::array::from_fn(|_| TechnicianId::from_uuid(id())),
        };
        let calendar = |weekday: &[(u16, u16)], weekend: &[(u16, u16)]| {
            let week = [[weekday].repeat(5), [weekend].repeat(2)].concat();
            json!({ "time_zone": "Europe/Amsterdam", "week": week, "days_off": [] })
        };
        let office = calendar(&[(8 * 60, 17 * 60)], &[]);
        let always = calendar(&[(0, 24 * 60)], &[(0, 24 * 60)]);
        sqlx::query(
            "with t as (insert into tenants (tenant_id, slug, settings) values ($1, $2, $3)),
                  s as (insert into sites (tenant_id, id, code, lat_e6, lon_e6)
                        values ($1, $4, 'harbour_shop', 52370000, 4890000)),
                  a as (insert into assets (tenant_id, id, site_id, kind, code)
                        values ($1, $5, $4, 'shopfront_pane', 'harbour_pane')),
                  c as (insert into contacts (tenant_id, id, site_id, name, phone, code)
                        values ($1, $6, $4, 'Quillfeather', '+31205550199', 'harbour_owner'))
             insert into technicians (tenant_id, id, contact_id, skills, base_lat_e6, base_lon_e6, calendar, code)
             select $1, id, $6, '{glazing,door_repair}', 52370000 + 10000 * n::int, 4890000, $8, 'technician_' || n
             from unnest($7::uuid[]) with ordinality as t (id, n)",
        )
        .bind(tenant.id.as_uuid())
        .bind(format!("t{}", tenant.id.as_uuid().simple()))
        .bind(json!({ "calendar": office, "currency": "EUR" }))
        .bind(tenant.site.as_uuid())
        .bind(tenant.asset.as_uuid())
        .bind(tenant.contact.as_uuid())
        .bind(tenant.technicians.map(|id| id.as_uuid()).to_vec())
        .bind(always)
        .execute(admin)
        .await
        .expect("the superuser may");
        tenant
    }
}
