//! The events of RFC 9967: what happens to SCIM resources.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::event::Event;
use crate::event::macros::event;
use crate::members::Members;

/// What all URIs begin with.
pub(super) const BASE: &str = "urn:ietf:params:scim:event:";

macro_rules! uri {
    ($name:literal) => {
        concat!("urn:ietf:params:scim:event:", $name)
    };
}

event! {
    /// The resource is in the feed from now on (RFC 9967 §2.3.1).
    FeedAdd, uri!("feed:add"), "RFC 9967 §2.3.1"
}

event! {
    /// The resource is no longer in the feed (RFC 9967 §2.3.2).
    FeedRemove, uri!("feed:remove"), "RFC 9967 §2.3.2"
}

event! {
    /// A resource was made (RFC 9967 §2.4).
    ProvCreateFull, uri!("prov:create:full"), "RFC 9967 §2.4",
    requires {
        /// `data`: the resource. Never the value of a password.
        data: Members = "data",
    },
    allows {
        /// `version`: its entity tag afterwards.
        version: Box<str> = "version",
    }
}

event! {
    /// A resource was replaced (RFC 9967 §2.4).
    ProvPutFull, uri!("prov:put:full"), "RFC 9967 §2.4",
    requires {
        /// `data`: what it was replaced with. Never the value of a password.
        data: Members = "data",
    },
    allows {
        /// `version`: its entity tag afterwards.
        version: Box<str> = "version",
    }
}

event! {
    /// A resource was changed (RFC 9967 §2.4).
    ProvPatchFull, uri!("prov:patch:full"), "RFC 9967 §2.4",
    requires {
        /// `data`: the operations. Never the value of a password.
        data: Members = "data",
    },
    allows {
        /// `version`: its entity tag afterwards.
        version: Box<str> = "version",
    }
}

event! {
    /// A resource was made; what exactly is to be fetched (RFC 9967 §2.4).
    ProvCreateNotice, uri!("prov:create:notice"), "RFC 9967 §2.4",
    requires {
        /// `attributes`: which attributes.
        attributes: Vec<Box<str>> = "attributes",
    },
    allows {
        /// `version`: its entity tag afterwards.
        version: Box<str> = "version",
    }
}

event! {
    /// A resource was replaced; what exactly is to be fetched (RFC 9967 §2.4).
    ProvPutNotice, uri!("prov:put:notice"), "RFC 9967 §2.4",
    requires {
        /// `attributes`: which attributes.
        attributes: Vec<Box<str>> = "attributes",
    },
    allows {
        /// `version`: its entity tag afterwards.
        version: Box<str> = "version",
    }
}

event! {
    /// A resource was changed; what exactly is to be fetched (RFC 9967 §2.4).
    ProvPatchNotice, uri!("prov:patch:notice"), "RFC 9967 §2.4",
    requires {
        /// `attributes`: which attributes.
        attributes: Vec<Box<str>> = "attributes",
    },
    allows {
        /// `version`: its entity tag afterwards.
        version: Box<str> = "version",
    }
}

event! {
    /// A resource was deleted (RFC 9967 §2.4.4).
    ProvDelete, uri!("prov:delete"), "RFC 9967 §2.4.4"
}

event! {
    /// A resource was activated (RFC 9967 §2.4.5).
    ProvActivate, uri!("prov:activate"), "RFC 9967 §2.4.5"
}

event! {
    /// A resource was deactivated (RFC 9967 §2.4.6).
    ProvDeactivate, uri!("prov:deactivate"), "RFC 9967 §2.4.6"
}

event! {
    /// The answer to a request that was to be answered later (RFC 9967 §2.5.1.3).
    AsyncResponse, uri!("misc:asyncresp"), "RFC 9967 §2.5.1.3",
    requires {
        /// `method`: the method of the request.
        method: Box<str> = "method",
        /// `status`: the HTTP status, as a text.
        status: Box<str> = "status",
    },
    allows {
        /// `version`: the entity tag of the resource.
        version: Box<str> = "version",
        /// `bulkId`: which operation of a bulk request.
        bulk_id: Box<str> = "bulkId",
        /// `location`: where the resource is.
        location: Box<str> = "location",
        /// `response`: what went wrong, unless nothing did.
        response: Members = "response",
    }
}
