import DequeModule
import MQTTPackets

struct OutboundBody: Sendable {
    var message: Message?
    var identifiers: [UInt32]
}

/// The QoS 1 and 2 messages of one receiver, from the oldest unfinished to the newest queued.
///
///       0                       cursor                    heads.count
///       ▼                         ▼                         ▼
///     ┌──────┬──────┬──────┬──────┬────────┬────────┬────────┐
///     │ sent │ done │ rel. │ sent │ queued │ queued │ queued │  heads
///     ├──────┼──────┼──────┼──────┼────────┼────────┼────────┤
///     │ msg  │      │      │ msg  │  msg   │  msg   │  msg   │  bodies
///     └──────┴──────┴──────┴──────┴────────┴────────┴────────┘
///      in flight: at most quota    waits for quota, commit or connection
///
/// Behind these may stand more that only the store has: see `StoredTail`.
///
/// Every entry has a 64-bit number, given when it is queued and ascending from head to head; a message that was taken back
/// or dropped before it was sent leaves a gap, and so does an identifier that is retired. The packet identifier is derived
/// from it, so that nothing has to be looked up or stored: number modulo 65,535, plus one. Sending stops before an identifier could be used again while the one before
/// is unfinished.
@usableFromInline
package struct OutboundQueue: Sendable {
    var heads = Deque<OutboundHead>()
    var bodies = Deque<OutboundBody>()
    /// The entry to send next.
    private(set) var cursor = 0
    /// Entries from the cursor on.
    @usableFromInline package internal(set) var waiting = 0
    /// Those behind them that are not in memory.
    @usableFromInline package internal(set) var stored = StoredTail()
    /// The number of the next entry to be queued.
    package internal(set) var end: UInt64
    /// Messages that this connection has sent and that have no final answer, and the bytes that they hold.
    package private(set) var inFlight = 0
    package private(set) var inFlightBytes = 0
    /// Messages of QoS 2 with numbers below this one may be sent: the store knows that they may have been.
    package internal(set) var sendMark: UInt64 = .max
    /// Of the change that raised it.
    var sendMarkTicket: UInt64 = 0
    /// Of messages with numbers below this one an earlier process may have sent some.
    var begunEnd: UInt64 = 0
    /// Identifiers that no message is given any more.
    package private(set) var retired = PacketIDSet()
    /// The ticket of the entry that has finished last.
    package private(set) var ticketOfFinished: UInt64 = 0
    /// The oldest entry as of the last time when all ends of messages were committed.
    private var committedFirst: UInt64 = 0
    /// What becomes of it once a ticket is committed.
    private var nextCommittedFirst: (first: UInt64, ticket: UInt64) = (0, 0)
    /// Messages that are not over, and the bytes of memory that they hold.
    package internal(set) var unfinished = 0
    @usableFromInline package internal(set) var bytesHeld = 0
    var longest = 0

    package init(firstNumber: UInt64 = 0) {
        end = firstNumber
        committedFirst = firstNumber
    }

    /// What an entry takes in memory beside its message.
    static let entryBytes = MemoryLayout<OutboundHead>.stride + MemoryLayout<OutboundBody>.stride

    @inlinable package static func packetID(_ number: UInt64) -> UInt16 { UInt16(number % 65_535) + 1 }

    /// The number of the oldest entry.
    package var first: UInt64 { heads.first?.number ?? (stored.count > 0 ? stored.first : end) }
    package var isEmpty: Bool { heads.isEmpty }
    /// Messages that were not sent on this connection.
    @inlinable package var queued: Int { waiting + stored.count }
    /// The bytes of memory that they hold.
    package var bytesUnsent: Int { bytesHeld - inFlightBytes - (heads.count - waiting) * Self.entryBytes }

    /// Only where all the queue is in memory.
    package mutating func append(
        _ message: Message?,
        qos: QoS,
        isRetained: Bool,
        identifiers: [UInt32] = [],
        ticket: UInt64 = 0,
        group: UInt32 = 0
    ) {
        let bytes = (message?.bytesHeld ?? 0) + identifiers.count * MemoryLayout<UInt32>.stride
        bytesHeld += bytes + Self.entryBytes
        heads.append(
            OutboundHead(
                number: end,
                ticket: ticket,
                group: group,
                bytesHeld: UInt32(bytes),
                qos: qos,
                isRetained: isRetained
            )
        )
        bodies.append(OutboundBody(message: message, identifiers: identifiers))
        countOn()
        waiting += 1
        longest = max(longest, heads.count)
    }

    /// A message has taken the next number.
    mutating func countOn() {
        end += 1
        if retired.count > 0 { skipRetired() }
        unfinished += 1
    }

    mutating func skipRetired() {
        while retired.contains(Self.packetID(end)) && retired.count < 65_535 { end += 1 }
    }

    /// The identifier is not given to a message to come.
    package mutating func retire(_ packetID: UInt16) {
        retired.insert(packetID)
        skipRetired()
    }

    /// Messages of QoS 2 below `end` may be sent once the ticket is committed.
    package mutating func raiseSendMark(to end: UInt64, ticket: UInt64) {
        var at = cursor
        while at < heads.count && heads[at].number < end {
            if heads[at].number >= sendMark && heads[at].qos == .exactlyOnce { heads[at].ticket = ticket }
            at += 1
        }
        sendMark = end
        sendMarkTicket = ticket
    }

    /// Where an entry is; nil where it has been dropped or is not there any more.
    private func position(_ number: UInt64) -> Int? {
        guard number >= first, number < end else { return nil }
        let guess = Int(number - first)
        if guess < heads.count && heads[guess].number == number { return guess }
        var (low, high) = (0, min(guess, heads.count))
        while low < high {
            let middle = (low + high) / 2
            if heads[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low < heads.count && heads[low].number == number ? low : nil
    }

    private func known(_ number: UInt64) -> Int {
        guard let at = position(number) else { preconditionFailure("no message has the number \(number)") }
        return at
    }

    package func isUnfinished(_ number: UInt64) -> Bool { position(number).map { heads[$0].state != .done } ?? false }

    package func head(_ number: UInt64) -> OutboundHead { heads[known(number)] }

    package subscript(number: UInt64) -> OutboundEntry {
        let at = known(number)
        return OutboundEntry(heads[at], message: bodies[at].message, identifiers: bodies[at].identifiers)
    }

    /// The entry in flight with this packet identifier.
    package func head(of packetID: UInt16) -> OutboundHead? {
        guard let at = position(of: packetID), at < cursor else { return nil }
        return heads[at]
    }

    /// Whether a message has the packet identifier that was sent on this connection or an earlier one.
    package func isTaken(_ packetID: UInt16) -> Bool {
        guard let at = position(of: packetID) else { return false }
        return heads[at].state == .sent || heads[at].state == .released
    }

    private func position(of packetID: UInt16) -> Int? {
        let first = first
        return position(first + (UInt64(packetID) + 65_535 - 1 - first % 65_535) % 65_535)
    }

    /// Its number.
    package func number(of packetID: UInt16) -> UInt64? { head(of: packetID)?.number }

    /// The numbers of the entries that are not over and that `body` wants, in order.
    package func numbers(where body: (OutboundHead) -> Bool) -> [UInt64] {
        var numbers: [UInt64] = []
        for head in heads where head.state != .done && body(head) { numbers.append(head.number) }
        return numbers
    }

    /// The oldest message that was never sent; nil where all were.
    package var oldestUnsent: Message? { oldestUnsentPosition.flatMap { bodies[$0].message } }

    /// Its number.
    package var oldestUnsentNumber: UInt64? { oldestUnsentPosition.map { heads[$0].number } }

    private var oldestUnsentPosition: Int? {
        var at = cursor
        while at < heads.count && heads[at].state != .queued { at += 1 }
        return at < heads.count ? at : nil
    }

    /// No message that was not sent on this connection has a smaller number.
    package var nextUnsent: UInt64 {
        if cursor < heads.count { return heads[cursor].number }
        return stored.count > 0 ? stored.first : end
    }

    /// What is to be sent next.
    package enum Step: Sendable, Equatable {
        case publish(UInt64)
        case release(UInt64)
        /// The mark has to be raised before this message is sent.
        case mark(UInt64)
        case nothing
    }

    /// Where sending stands: the next PUBLISH that quota and commit allow, or a PUBREL that a new connection repeats.
    ///
    /// An identifier is free again once the end of its message is committed: `lastTicket` is that of the last change.
    package mutating func nextStep(
        quota: Int,
        bytesMax: Int = .max,
        committed: UInt64,
        lastTicket: UInt64 = 0
    ) -> Step {
        if lastTicket <= committed {
            committedFirst = first
        } else if nextCommittedFirst.ticket <= committed {
            committedFirst = max(committedFirst, nextCommittedFirst.first)
            nextCommittedFirst = (first, lastTicket)
        }
        while cursor < heads.count {
            let head = heads[cursor]
            switch head.state {
            case .done:
                advance()
                if cursor == 1 { trim() }
            case .released: return .release(head.number)
            case .queued, .sent:
                guard inFlight < quota, head.number - committedFirst < 65_535 else { return .nothing }
                // At QoS 1 nothing waits: what is not stored is not acknowledged, and sent again.
                if head.qos == .exactlyOnce {
                    guard head.ticket <= committed else { return .nothing }
                    if head.number >= sendMark { return .mark(head.number) }
                }
                // A single message goes out whatever its size.
                guard inFlight == 0 || inFlightBytes + Int(head.bytesHeld) <= bytesMax else { return .nothing }
                return .publish(head.number)
            }
        }
        return .nothing
    }

    private mutating func advance() {
        cursor += 1
        waiting -= 1
    }

    /// What the next step's PUBLISH is to carry. Mutating, so that the queue is not copied for a look at it.
    package mutating func next() -> (head: OutboundHead, message: Message?, identifiers: [UInt32]) {
        (heads[cursor], bodies[cursor].message, bodies[cursor].identifiers)
    }

    /// The next step's PUBLISH has been sent.
    package mutating func published() {
        heads[cursor].becomeSent()
        inFlight += 1
        inFlightBytes += Int(heads[cursor].bytesHeld)
        advance()
    }

    /// The next step's PUBREL has been sent.
    package mutating func released() { advance() }

    /// The entry is over, whatever its state.
    package mutating func finish(_ number: UInt64) {
        let at = known(number)
        dropMessage(at)
        ticketOfFinished = heads[at].ticket
        let ended = heads[at].finish()
        if ended.wasInFlight { inFlight -= 1 }
        if ended.wasUnfinished { unfinished -= 1 }
        if at == 0 { trim() }
    }

    /// PUBREC came: the payload is not needed any more.
    package mutating func received(_ number: UInt64) {
        let at = known(number)
        dropMessage(at)
        heads[at].state = .released
    }

    /// Takes away the oldest message that was never sent; nil where all were.
    ///
    /// It stands behind those in flight, which are few: closing the gap moves only them.
    package mutating func dropOldest() -> (number: UInt64, payloadBytes: Int)? {
        guard let at = oldestUnsentPosition else { return nil }
        let dropped = (number: heads[at].number, payloadBytes: bodies[at].message?.view.payload.count ?? 0)
        remove(at)
        return dropped
    }

    /// Takes away a message that was never sent. False where it was, or is over.
    package mutating func removeUnsent(_ number: UInt64) -> Bool {
        guard let at = position(number), heads[at].state == .queued else { return false }
        remove(at)
        return true
    }

    /// Of those that were never sent, which stand from the cursor on.
    private mutating func remove(_ at: Int) {
        ticketOfFinished = heads[at].ticket
        dropMessage(at)
        heads.remove(at: at)
        bodies.remove(at: at)
        bytesHeld -= Self.entryBytes
        waiting -= 1
        unfinished -= 1
        // What stood behind it may be over.
        if at == 0 { trim() }
    }

    /// The connection is gone: what was in flight is sent again on the next, in order [MQTT-4.4.0-1].
    package mutating func connectionEnded() {
        for at in 0..<cursor {
            heads[at].usesQuota = false
            if heads[at].state == .sent { heads[at].isBegun = true }
        }
        inFlight = 0
        inFlightBytes = 0
        cursor = 0
        removeDone()
        waiting = heads.count
    }

    /// What is over but stands behind something that is not.
    private mutating func removeDone() {
        let before = heads.count
        guard heads.contains(where: { $0.state == .done }) else { return }
        bodies = Deque(zip(heads, bodies).lazy.filter { $0.0.state != .done }.map(\.1))
        heads.removeAll { $0.state == .done }
        bytesHeld -= (before - heads.count) * Self.entryBytes
    }

    /// The other end has forgotten the session: what was sent goes out as if for the first time, and what only waited
    /// for its release is over.
    package mutating func sessionForgotten() {
        for at in heads.indices {
            switch heads[at].state {
            case .sent:
                heads[at].state = .queued
                heads[at].isBegun = false
            case .released:
                heads[at].state = .done
                unfinished -= 1
            case .queued, .done: break
            }
        }
        trim()
    }

    mutating func dropMessage(_ at: Int) {
        let bytes = Int(heads[at].bytesHeld)
        bytesHeld -= bytes
        if heads[at].usesQuota { inFlightBytes -= bytes }
        heads[at].bytesHeld = 0
        bodies[at] = OutboundBody(message: nil, identifiers: [])
    }

    private mutating func trim() {
        while let oldest = heads.first, oldest.state == .done {
            heads.removeFirst()
            bodies.removeFirst()
            bytesHeld -= Self.entryBytes
            if cursor > 0 { cursor -= 1 } else { waiting -= 1 }
        }
        shrink()
    }

    mutating func shrink() {
        // A queue that was long once does not keep its storage.
        if longest > 256 && heads.count < longest / 4 {
            heads = Deque(heads)
            bodies = Deque(bodies)
            longest = heads.count
        }
    }
}
