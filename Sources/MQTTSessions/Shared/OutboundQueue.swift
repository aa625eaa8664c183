import DequeModule
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
    package var message: Message?
    /// Subscription identifiers to send along.
    package var identifiers: [UInt32]
    /// The message goes out after the commit of this ticket; 0 waits for nothing.
    package var ticket: UInt64
    package var qos: QoS
    package var isRetained: Bool
    /// The shared subscription that it was queued for; 0 is none.
    package var group: UInt32
    package var state = State.queued
    /// Whether it was sent on this connection and counts against the receiver's Receive Maximum.
    package var usesQuota = false
    /// Whether it was sent on an earlier connection.
    package var isBegun = false

    package init(
        message: Message,
        qos: QoS,
        isRetained: Bool,
        identifiers: [UInt32] = [],
        ticket: UInt64 = 0,
        group: UInt32 = 0
    ) {
        self.message = message
        self.qos = qos
        self.isRetained = isRetained
        self.identifiers = identifiers
        self.ticket = ticket
        self.group = group
    }
}

/// The QoS 1 and 2 messages of one receiver, from the oldest unfinished to the newest queued.
///
///      first                    next                    first + entries.count
///        ▼                        ▼                        ▼
///     ┌──────┬──────┬──────┬──────┬────────┬────────┬────────┐
///     │ sent │ done │ rel. │ sent │ queued │ queued │ queued │
///     └──────┴──────┴──────┴──────┴────────┴────────┴────────┘
///      in flight: at most quota    waits for quota, commit or connection
///
/// Every entry has a 64-bit number, given when it is queued. The packet identifier is derived from it, so that nothing
/// has to be looked up or stored: number modulo 65,535, plus one. Sending stops before an identifier could be used
/// again while the one before is unfinished.
package struct OutboundQueue: Sendable {
    package private(set) var entries = Deque<OutboundEntry>()
    /// The number of the oldest entry.
    package private(set) var first: UInt64
    /// The number of the next entry to send.
    package private(set) var next: UInt64
    /// Messages that this connection has sent and that have no final answer.
    package private(set) var inFlight = 0
    /// Bytes held by the messages that have not been sent or not been acknowledged.
    package private(set) var bytesHeld = 0
    private var longest = 0

    package init(firstNumber: UInt64 = 0) {
        first = firstNumber
        next = firstNumber
    }

    package static func packetID(_ number: UInt64) -> UInt16 { UInt16(number % 65_535) + 1 }

    package var end: UInt64 { first + UInt64(entries.count) }
    package var queued: Int { Int(end - next) }
    package var isEmpty: Bool { entries.isEmpty }

    package mutating func append(_ entry: OutboundEntry) {
        bytesHeld += entry.message?.bytesHeld ?? 0
        entries.append(entry)
        longest = max(longest, entries.count)
    }

    package subscript(number: UInt64) -> OutboundEntry {
        get { entries[Int(number - first)] }
        _modify { yield &entries[Int(number - first)] }
    }

    /// The number of the entry in flight with this packet identifier.
    package func number(of packetID: UInt16) -> UInt64? {
        let base = first % 65_535
        let offset = (UInt64(packetID) + 65_535 - 1 - base) % 65_535
        let number = first + offset
        return number < next ? number : nil
    }

    /// What is to be sent next.
    package enum Step: Sendable, Equatable {
        case publish(UInt64)
        case release(UInt64)
        case nothing
    }

    /// Where sending stands: the next PUBLISH that quota and commit allow, or a PUBREL that a new connection repeats.
    package mutating func nextStep(quota: Int, committed: UInt64) -> Step {
        while next < end {
            let at = Int(next - first)
            switch entries[at].state {
            case .done:
                next += 1
                if at == 0 { trim() }
            case .released: return .release(next)
            case .queued, .sent:
                guard inFlight < quota, entries[at].ticket <= committed, at < 65_535 else { return .nothing }
                return .publish(next)
            }
        }
        return .nothing
    }

    /// The next step's PUBLISH has been sent.
    package mutating func published() {
        let at = Int(next - first)
        entries[at].state = .sent
        entries[at].usesQuota = true
        inFlight += 1
        next += 1
    }

    /// The next step's PUBREL has been sent.
    package mutating func released() { next += 1 }

    /// The entry is over, whatever its state.
    package mutating func finish(_ number: UInt64) {
        let at = Int(number - first)
        dropMessage(at)
        if entries[at].usesQuota {
            entries[at].usesQuota = false
            inFlight -= 1
        }
        entries[at].state = .done
        if at == 0 { trim() }
    }

    /// PUBREC came: the payload is not needed any more.
    package mutating func received(_ number: UInt64) {
        let at = Int(number - first)
        dropMessage(at)
        entries[at].state = .released
    }

    /// The connection is gone: what was in flight is sent again on the next, in order [MQTT-4.4.0-1].
    package mutating func connectionEnded() {
        for at in 0..<Int(next - first) {
            entries[at].usesQuota = false
            if entries[at].state == .sent { entries[at].isBegun = true }
        }
        inFlight = 0
        next = first
    }

    private mutating func dropMessage(_ at: Int) {
        bytesHeld -= entries[at].message?.bytesHeld ?? 0
        entries[at].message = nil
        entries[at].identifiers = []
    }

    private mutating func trim() {
        while let oldest = entries.first, oldest.state == .done {
            entries.removeFirst()
            first += 1
        }
        if next < first { next = first }
        // A queue that was long once does not keep its storage.
        if entries.isEmpty && longest > 256 {
            entries = Deque()
            longest = 0
        }
    }
}
