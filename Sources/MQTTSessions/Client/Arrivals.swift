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
    /// The position of the first entry of this connection.
    private var connectionFirst: UInt64 = 0
    /// Of QoS 2, handed out on earlier connections and not taken yet: the positions by packet identifier.
    private var untaken: [UInt16: UInt64] = [:]
    /// Of QoS 2, refused and not answered on an earlier connection.
    private var refused: [UInt16: ReasonCode] = [:]
    /// How often the session was forgotten.
    private var incarnation: UInt32 = 0

    mutating func connectionEnded() {
        for (position, entry) in zip(first..., entries) where entry.qos == .exactlyOnce {
            if entry.isReady {
                if entry.reasonCode.isError { refused[entry.packetID] = entry.reasonCode }
            } else if untaken[entry.packetID] == nil {
                // One that came again has the receipt of its first coming.
                untaken[entry.packetID] = position
            }
        }
        first += UInt64(entries.count)
        connectionFirst = first
        entries.removeAll()
    }

    mutating func sessionForgotten() {
        incarnation &+= 1
        untaken = [:]
        refused = [:]
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
        return receipt
    }

    /// A QoS 2 message came again. Where its first coming still waits on this connection, that answer is for both.
    mutating func repeated(_ packetID: UInt16) {
        guard openPosition(packetID) == nil else { return }
        var entry = Entry(packetID: packetID, qos: .exactlyOnce, isReady: untaken[packetID] == nil)
        if entry.isReady, let reasonCode = refused.removeValue(forKey: packetID) { entry.reasonCode = reasonCode }
        entries.append(entry)
    }

    /// The application has the message. Of an earlier connection only QoS 2 is of use: at QoS 1 it comes again.
    /// False where it is of no use, as whatever follows the first for the same receipt.
    @discardableResult
    mutating func taken(_ receipt: Receipt, _ reasonCode: ReasonCode) -> Bool {
        if receipt.position >= connectionFirst {
            guard receipt.position >= first, !entries[Int(receipt.position - first)].isReady else { return false }
            answer(Int(receipt.position - first), reasonCode)
            return true
        }
        guard receipt.qos == .exactlyOnce, receipt.incarnation == incarnation,
            untaken[receipt.packetID] == receipt.position
        else { return false }
        untaken[receipt.packetID] = nil
        if let at = openPosition(receipt.packetID) {
            answer(at, reasonCode)
        } else if reasonCode.isError {
            refused[receipt.packetID] = reasonCode
        }
        return true
    }

    private mutating func answer(_ at: Int, _ reasonCode: ReasonCode) {
        entries[at].isReady = true
        entries[at].reasonCode = reasonCode
    }

    /// Where a message of QoS 2 waits that came on this connection.
    private func openPosition(_ packetID: UInt16) -> Int? {
        entries.firstIndex { $0.packetID == packetID && $0.qos == .exactlyOnce && !$0.isReady }
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
