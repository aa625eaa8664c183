/// What a subscription wants beside its filter (MQTT 5.0, section 3.8.3.1). Before 5.0 only the QoS.
public struct SubscriptionOptions: Sendable, Hashable {
    /// When a new subscription is sent the retained messages of its topics.
    public enum RetainHandling: UInt8, Sendable, Hashable {
        /// At each SUBSCRIBE, also for a filter that the session has already.
        case always = 0
        /// Where the session did not have the filter.
        case ifNew = 1
        /// Only messages that are published from then on.
        case never = 2
    }

    /// The most that messages are delivered with.
    public var qos: QoS
    /// Messages that this client published itself are not sent back to it.
    public var noLocal: Bool
    /// Messages keep the retain flag that they were published with.
    public var retainAsPublished: Bool
    /// When retained messages are sent for this subscription.
    public var retainHandling: RetainHandling

    /// The defaults are what 3.1.1 does, but for the QoS.
    public init(
        qos: QoS = .atMostOnce,
        noLocal: Bool = false,
        retainAsPublished: Bool = false,
        retainHandling: RetainHandling = .always
    ) {
        self.qos = qos
        self.noLocal = noLocal
        self.retainAsPublished = retainAsPublished
        self.retainHandling = retainHandling
    }

    package init?(byte: UInt8, version: ProtocolVersion) {
        guard let qos = QoS(rawValue: byte & 3) else { return nil }
        self.init(qos: qos)
        guard version == .v5 else {
            if byte & 0xFC != 0 { return nil }  // [MQTT-3-8.3-4]
            return
        }
        // [MQTT-3.8.3-5]
        guard byte & 0xC0 == 0, let handling = RetainHandling(rawValue: byte >> 4 & 3) else { return nil }
        noLocal = byte & 4 != 0
        retainAsPublished = byte & 8 != 0
        retainHandling = handling
    }

    package var byte: UInt8 {
        qos.rawValue | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | retainHandling.rawValue << 4
    }
}

/// SUBSCRIBE (MQTT 5.0, section 3.8).
package struct Subscribe: Sendable, Hashable {
    package struct Filter: Sendable, Hashable {
        /// As received: well-formed UTF-8, not yet checked against the rules of filters.
        package var filter: String
        package var options: SubscriptionOptions

        package init(_ filter: String, _ options: SubscriptionOptions = SubscriptionOptions()) {
            self.filter = filter
            self.options = options
        }
    }

    package var packetID: UInt16
    package var filters: [Filter]
    package var properties: Properties

    package init(packetID: UInt16, filters: [Filter], properties: Properties = Properties()) {
        self.packetID = packetID
        self.filters = filters
        self.properties = properties
    }
}

/// SUBACK (MQTT 5.0, section 3.9): a code for each filter, in their order [MQTT-3.9.3-1].
package struct Suback: Sendable, Hashable {
    package var packetID: UInt16
    package var reasonCodes: [ReasonCode]
    package var properties: Properties

    package init(packetID: UInt16, reasonCodes: [ReasonCode], properties: Properties = Properties()) {
        self.packetID = packetID
        self.reasonCodes = reasonCodes
        self.properties = properties
    }
}
