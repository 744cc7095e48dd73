//! Outbound messages: claims what is queued and due, asks again whether it is still wanted, sends it.
