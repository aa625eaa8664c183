import DequeModule
import MQTTPackets

/// The QoS 1 and 2 messages of this connection that are not acknowledged, in the order in which they came.
///
///       first                                    first + entries.count
///       ▼                                          ▼
///     ┌─────────┬───────┬─────────┬───────┬───────┐
///     │ waiting │ ready │ waiting │ ready │ ready │  entries
///     └─────────┴───────┴─────────┴───────┴───────┘
///
/// Acknowledgements leave in that order [MQTT-4.6.0-2] [MQTT-4.6.0-3]: one that is ready waits for those before it.
struct Arrivals: Sendable {
    struct Entry: Sendable {
        let packetID: UInt16
        let qos: QoS
        var isReady = false
        var reasonCode = ReasonCode.success
    }

    private(set) var entries = Deque<Entry>()
    /// The position of the oldest entry. Positions are never used again.
    private var first: UInt64 = 0
    /// Of QoS 2, handed out and not taken yet, also on earlier connections.
    private var untaken = PacketIDSet()
    /// How often the session was forgotten.
    private var incarnation: UInt32 = 0

    mutating func connectionEnded() {
        first += UInt64(entries.count)
        entries.removeAll()
    }

    mutating func sessionForgotten() {
        incarnation &+= 1
        untaken = PacketIDSet()
    }

    /// A message that nobody was given before.
    mutating func append(_ packetID: UInt16, _ qos: QoS) -> Receipt {
        let receipt = Receipt(
            position: first + UInt64(entries.count),
            incarnation: incarnation,
            packetID: packetID,
            qos: qos
        )
        entries.append(Entry(packetID: packetID, qos: qos))
        if qos == .exactlyOnce { untaken.insert(packetID) }
        return receipt
    }

    /// A QoS 2 message came again. Where its first coming still waits on this connection, that answer is for both.
    mutating func repeated(_ packetID: UInt16) {
        let isUntaken = untaken.contains(packetID)
        if isUntaken && entries.contains(where: { $0.packetID == packetID && $0.qos == .exactlyOnce }) { return }
        entries.append(Entry(packetID: packetID, qos: .exactlyOnce, isReady: !isUntaken))
    }

    /// The application has the message. Of an earlier connection only QoS 2 is of use: at QoS 1 it comes again.
    /// False where it is of no use.
    @discardableResult
    mutating func taken(_ receipt: Receipt, _ reasonCode: ReasonCode) -> Bool {
        if receipt.qos == .exactlyOnce {
            guard receipt.incarnation == incarnation, untaken.remove(receipt.packetID) else { return false }
        }
        guard let at = position(receipt) else { return receipt.qos == .exactlyOnce }
        entries[at].isReady = true
        entries[at].reasonCode = reasonCode
        return true
    }

    private func position(_ receipt: Receipt) -> Int? {
        if receipt.position >= first { return Int(receipt.position - first) }
        guard receipt.qos == .exactlyOnce else { return nil }
        return entries.firstIndex { $0.packetID == receipt.packetID && $0.qos == .exactlyOnce }
    }

    /// The oldest entry, where it is ready.
    mutating func popReady() -> Entry? {
        guard let entry = entries.first, entry.isReady else { return nil }
        first += 1
        return entries.removeFirst()
    }
}

/// What a message of QoS 1 or 2 is acknowledged by.
package struct Receipt: Sendable, Hashable {
    let position: UInt64
    let incarnation: UInt32
    package let packetID: UInt16
    package let qos: QoS
}
