--
-- PostgreSQL database dump
--

-- Dumped from database version 14.11
-- Dumped by pg_dump version 14.11

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET row_security = off;

--
-- Data for Name: assets; Type: TABLE DATA; Schema: public; Owner: legacy
--

COPY public.assets (id, site_id, kind, label, active) FROM stdin;
11	1	Shopfront pane	left of the door	t
12	2	Sliding door		t
13	99	Sliding door	nobody knows where	t
\.


--
-- Data for Name: audit_events; Type: TABLE DATA; Schema: public; Owner: legacy
--

COPY public.audit_events (id, ticket_id, event, created_at) FROM stdin;
1	101	created	2025-03-02 08:00:00+00
2	101	triaged	2025-03-02 08:05:00+00
3	104	closed	2025-01-20 16:00:00+00
\.


--
-- Data for Name: contacts; Type: TABLE DATA; Schema: public; Owner: legacy
--

COPY public.contacts (id, site_id, name, phone, email, street) FROM stdin;
21	1	Quillfeather	+31205550101	q@harbour.example	Quay 1
22	\N	Night desk	+31205550102	\N	\N
23	1	Tab\there	no number at all	\N	\N
\.


--
-- Data for Name: sites; Type: TABLE DATA; Schema: public; Owner: legacy
--

COPY public.sites (id, name, lat, lon, active, created_at) FROM stdin;
1	Harbour shop	52.370000	4.890000	t	2024-11-01 09:00:00+00
2	Market hall	52.360000	4.900000	t	2024-11-01 09:00:00+00
3	Nowhere yet	\N	\N	t	2024-11-01 09:00:00+00
\.


--
-- Data for Name: technicians; Type: TABLE DATA; Schema: public; Owner: legacy
--

COPY public.technicians (id, name, phone, skills, home_lat, home_lon, time_zone, working_hours) FROM stdin;
31	Ansel	+31205550131	{glazing,"door repair"}	52.380000	4.880000	Europe/Amsterdam	mon-fri 08:00-17:00
32	Bram	+31205550132	{glazing}	52.390000	4.870000	Europe/Amsterdam	\N
\.


--
-- Data for Name: tickets; Type: TABLE DATA; Schema: public; Owner: legacy
--

COPY public.tickets (id, tenant_id, state, site_id, contact_id, asset_id, template, priority, description, details, created_at) FROM stdin;
101	\N	TRIAGED	1	21	11	emergency_glass	P2	Pane broken\nby the door	{"pane_count": 2}	2025-03-02 08:00:00+00
102	\N	SCHEDULED	2	\N	12	emergency_door	\N	Door does not close	\N	2025-03-03 08:00:00+00
103	\N	NEW	2	\N	\N	emergency_glass	\N	\N	\N	2025-03-04 08:00:00+00
104	\N	CLOSED	1	21	\N	emergency_glass	\N	Done long ago	\N	2025-01-20 08:00:00+00
105	\N	CANCELLED	1	\N	\N	emergency_door	\N	\N	\N	2025-01-21 08:00:00+00
106	7	NEW	1	\N	\N	emergency_glass	\N	of a pilot tenant	\N	2025-03-05 08:00:00+00
107	\N	LOST	1	\N	\N	emergency_glass	\N	\N	\N	2025-03-05 08:00:00+00
108	\N	NEW	99	\N	\N	emergency_glass	\N	\N	\N	2025-03-06 08:00:00+00
\.


--
-- PostgreSQL database dump complete
--
