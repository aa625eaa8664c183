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

    init(_ head: OutboundHead, message: Message?, identifiers: [UInt32]) {
        self.message = message
        self.identifiers = identifiers
        ticket = head.ticket
        qos = head.qos
        isRetained = head.isRetained
        group = head.group
        state = head.state
        usesQuota = head.usesQuota
        isBegun = head.isBegun
    }
}

/// The part of an entry that is looked at again and again: trivial, so that looking retains nothing.
package struct OutboundHead: Sendable {
    package var ticket: UInt64
    package var group: UInt32
    package var qos: QoS
    package var isRetained: Bool
    package var state: OutboundEntry.State
    var usesQuota = false
    package var isBegun = false
}

private struct OutboundBody: Sendable {
    var message: Message?
    var identifiers: [UInt32]
}

/// The QoS 1 and 2 messages of one receiver, from the oldest unfinished to the newest queued.
///
///      first                    next                    first + heads.count
///        ▼                        ▼                        ▼
///     ┌──────┬──────┬──────┬──────┬────────┬────────┬────────┐
///     │ sent │ done │ rel. │ sent │ queued │ queued │ queued │  heads
///     ├──────┼──────┼──────┼──────┼────────┼────────┼────────┤
///     │ msg  │      │      │ msg  │  msg   │  msg   │  msg   │  bodies
///     └──────┴──────┴──────┴──────┴────────┴────────┴────────┘
///      in flight: at most quota    waits for quota, commit or connection
///
/// Every entry has a 64-bit number, given when it is queued. The packet identifier is derived from it, so that nothing
/// has to be looked up or stored: number modulo 65,535, plus one. Sending stops before an identifier could be used
/// again while the one before is unfinished.
package struct OutboundQueue: Sendable {
    private var heads = Deque<OutboundHead>()
    private var bodies = Deque<OutboundBody>()
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

    package var end: UInt64 { first + UInt64(heads.count) }
    package var queued: Int { Int(end - next) }
    package var isEmpty: Bool { heads.isEmpty }

    package mutating func append(_ entry: OutboundEntry) {
        bytesHeld += entry.message?.bytesHeld ?? 0
        heads.append(
            OutboundHead(
                ticket: entry.ticket,
                group: entry.group,
                qos: entry.qos,
                isRetained: entry.isRetained,
                state: entry.state,
                usesQuota: entry.usesQuota,
                isBegun: entry.isBegun
            )
        )
        bodies.append(OutboundBody(message: entry.message, identifiers: entry.identifiers))
        longest = max(longest, heads.count)
    }

    package func head(_ number: UInt64) -> OutboundHead { heads[Int(number - first)] }

    package subscript(number: UInt64) -> OutboundEntry {
        let head = heads[Int(number - first)]
        let body = bodies[Int(number - first)]
        return OutboundEntry(head, message: body.message, identifiers: body.identifiers)
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
            switch heads[at].state {
            case .done:
                next += 1
                if at == 0 { trim() }
            case .released: return .release(next)
            case .queued, .sent:
                guard inFlight < quota, heads[at].ticket <= committed, at < 65_535 else { return .nothing }
                return .publish(next)
            }
        }
        return .nothing
    }

    /// The next step's PUBLISH has been sent.
    package mutating func published() {
        let at = Int(next - first)
        heads[at].state = .sent
        heads[at].usesQuota = true
        inFlight += 1
        next += 1
    }

    /// The next step's PUBREL has been sent.
    package mutating func released() { next += 1 }

    /// The entry is over, whatever its state.
    package mutating func finish(_ number: UInt64) {
        let at = Int(number - first)
        dropMessage(at)
        if heads[at].usesQuota {
            heads[at].usesQuota = false
            inFlight -= 1
        }
        heads[at].state = .done
        if at == 0 { trim() }
    }

    /// PUBREC came: the payload is not needed any more.
    package mutating func received(_ number: UInt64) {
        let at = Int(number - first)
        dropMessage(at)
        heads[at].state = .released
    }

    /// The connection is gone: what was in flight is sent again on the next, in order [MQTT-4.4.0-1].
    package mutating func connectionEnded() {
        for at in 0..<Int(next - first) {
            heads[at].usesQuota = false
            if heads[at].state == .sent { heads[at].isBegun = true }
        }
        inFlight = 0
        next = first
    }

    /// The other end has forgotten the session: what was sent goes out as if for the first time, and what only waited
    /// for its release is over.
    package mutating func sessionForgotten() {
        for at in heads.indices {
            switch heads[at].state {
            case .sent:
                heads[at].state = .queued
                heads[at].isBegun = false
            case .released: heads[at].state = .done
            case .queued, .done: break
            }
        }
        trim()
    }

    private mutating func dropMessage(_ at: Int) {
        bytesHeld -= bodies[at].message?.bytesHeld ?? 0
        bodies[at] = OutboundBody(message: nil, identifiers: [])
    }

    private mutating func trim() {
        while let oldest = heads.first, oldest.state == .done {
            heads.removeFirst()
            bodies.removeFirst()
            first += 1
        }
        if next < first { next = first }
        // A queue that was long once does not keep its storage.
        if heads.isEmpty && longest > 256 {
            heads = Deque()
            bodies = Deque()
            longest = 0
        }
    }
}
