import MQTTPackets

/// One QoS 1 or 2 message on its way to one receiver.
package struct OutboundEntry: Sendable {
    package enum State: UInt8, Sendable {
        /// Not sent on any connection yet.
        case queued
        /// PUBLISH was sent; no PUBACK or PUBREC yet.
        case sent
        /// PUBREC came, PUBREL was sent; no PUBCOMP yet.
        case released
        /// Over: acknowledged, dropped or expired. Goes once it is the oldest.
        case done
    }

    /// Nil once the payload is not needed any more.
    package let message: Message?
    /// Subscription identifiers to send along.
    package let identifiers: [UInt32]
    /// The message goes out after the commit of this ticket; 0 waits for nothing.
    package let ticket: UInt64
    package let qos: QoS
    package let isRetained: Bool
    /// The shared subscription that it was queued for; 0 is none.
    package let group: UInt32
    package let state: State
    /// Whether it was sent on an earlier connection.
    package let isBegun: Bool

    init(_ head: OutboundHead, message: Message?, identifiers: [UInt32]) {
        self.message = message
        self.identifiers = identifiers
        ticket = head.ticket
        qos = head.qos
        isRetained = head.isRetained
        group = head.group
        state = head.state
        isBegun = head.isBegun
    }
}

/// The part of an entry that is looked at again and again: trivial, so that looking retains nothing.
package struct OutboundHead: Sendable {
    package let number: UInt64
    /// Of the change that it was queued with, or of the one that it waits for; 0 is none.
    package var ticket: UInt64
    package var group: UInt32
    /// Of the message, until it is not needed any more.
    package var bytesHeld: UInt32
    package var qos: QoS
    package var isRetained: Bool
    package var state = OutboundEntry.State.queued
    /// Whether it was sent on this connection and counts against the receiver's Receive Maximum.
    var usesQuota = false
    package var isBegun = false

    package mutating func becomeSent() {
        state = .sent
        usesQuota = true
    }

    /// Whether it was in flight.
    package mutating func finish() -> (wasInFlight: Bool, wasUnfinished: Bool) {
        defer {
            usesQuota = false
            state = .done
        }
        return (usesQuota, state != .done)
    }
}
