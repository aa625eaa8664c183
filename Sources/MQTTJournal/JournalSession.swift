import MQTTPackets
import MQTTStore

/// Where a record stands.
struct RecordPlace: Hashable {
    var segment: UInt32
    var offset: UInt32
    /// Of the whole record.
    var bytes: UInt32
}

/// What the journal knows of a session: all but the bodies of its messages.
///
///     older segments ──────────────────────────────────────────────────▶ newer
///       │ anchor: began, or a copy of all the state │ changes since (never copied) │
///
/// The anchor is the only record of the state that counts as live. When its segment is compacted, the state as of then is
/// written as a new anchor, which makes every change before it superfluous.
final class JournalSession {
    let incarnation: UInt64
    var clientID = ""
    /// Nil only while a journal is read, where the anchor stands behind other records.
    var anchor: RecordPlace?
    var expiryInterval: UInt32 = 0
    var disconnectedAt: Int64?
    var will: Will?
    var subscriptions: [Name: StoredSubscription] = [:]
    var received: Set<UInt16> = []
    var retired: Set<UInt16> = []
    var sendMark: UInt64 = 0
    var nextNumber: UInt64 = 0
    var replays: [Name: StoredReplay] = [:]
    var pulled: [Name: UInt64] = [:]
    var queue = QueueIndex()
    /// What an anchor would take now.
    private(set) var stateBytes = 0

    init(_ incarnation: UInt64) {
        self.incarnation = incarnation
        measure()
    }

    var stored: StoredSession {
        var stored = StoredSession(incarnation: incarnation, clientID: clientID, expiryInterval: expiryInterval)
        stored.disconnectedAt = disconnectedAt
        stored.will = will
        stored.subscriptions = Array(subscriptions.values)
        stored.receivedPacketIDs = received.sorted()
        stored.retiredPacketIDs = retired.sorted()
        stored.sendMark = sendMark
        stored.nextNumber = nextNumber
        stored.queuedMessages = queue.count
        queue.visitAll { stored.queuedBytes += $0.bytes }
        stored.replays = Array(replays.values)
        for (topic, sequence) in pulled { stored.pulledTopics[topic.text] = sequence }
        return stored
    }

    /// Counts what the anchor would take anew; only where the whole state has changed.
    func measure() {
        stateBytes =
            JournalFormat.recordHeadBytes + 8 + 4 + 1 + 8 + 8 + 8 + 2 + clientID.utf8.count + 4 + 2 * retired.count + 4
            + 2 * received.count + Self.bytes(will) + 12
        for subscription in subscriptions.values { stateBytes += Self.bytes(subscription) }
        for replay in replays.values { stateBytes += Self.bytes(replay) }
        for topic in pulled.keys { stateBytes += Self.bytes(topic) }
    }

    private static func bytes(_ will: Will?) -> Int {
        guard let will else { return 0 }
        return 11 + will.topic.utf8.count + will.properties.encodedBytes + will.payload.readableBytes
    }

    private static func bytes(_ subscription: StoredSubscription) -> Int { 7 + subscription.filter.utf8.count }
    private static func bytes(_ replay: StoredReplay) -> Int {
        18 + bytes(replay.subscription) + replay.through.utf8.count
    }
    private static func bytes(_ topic: Name) -> Int { 10 + topic.text.utf8.count }

    func set(_ will: Will?) {
        stateBytes += Self.bytes(will) - Self.bytes(self.will)
        self.will = will
    }

    func subscribe(_ subscription: StoredSubscription) {
        let before = subscriptions.updateValue(subscription, forKey: Name(subscription.filter))
        stateBytes += Self.bytes(subscription) - (before.map(Self.bytes) ?? 0)
    }

    func unsubscribe(_ filter: String) {
        if let before = subscriptions.removeValue(forKey: Name(filter)) { stateBytes -= Self.bytes(before) }
    }

    func receive(_ packetID: UInt16) { if received.insert(packetID).inserted { stateBytes += 2 } }
    func release(_ packetID: UInt16) { if received.remove(packetID) != nil { stateBytes -= 2 } }
    func retire(_ packetID: UInt16) { if retired.insert(packetID).inserted { stateBytes += 2 } }

    func begin(_ replay: StoredReplay) {
        let before = replays.updateValue(replay, forKey: Name(replay.subscription.filter))
        stateBytes += Self.bytes(replay) - (before.map(Self.bytes) ?? 0)
    }

    func endReplay(_ filter: String) {
        if let before = replays.removeValue(forKey: Name(filter)) { stateBytes -= Self.bytes(before) }
    }

    func pull(_ topic: String, _ sequence: UInt64) {
        if topic.isEmpty {
            for topic in pulled.keys { stateBytes -= Self.bytes(topic) }
            pulled = [:]
        } else if pulled.updateValue(sequence, forKey: Name(topic)) == nil {
            stateBytes += Self.bytes(Name(topic))
        }
    }

    /// Takes the whole state from a record.
    func read(_ cursor: inout RecordCursor) {
        expiryInterval = cursor.integer()
        let flags: UInt8 = cursor.integer()
        let time: Int64 = cursor.integer()
        disconnectedAt = flags & 1 == 0 ? nil : time
        sendMark = cursor.integer()
        nextNumber = max(nextNumber, cursor.integer())
        clientID = cursor.text()
        retired = Self.packetIDs(&cursor)
        received = Self.packetIDs(&cursor)
        will = flags & 2 == 0 ? nil : cursor.will()
        (subscriptions, replays, pulled) = ([:], [:], [:])
        Self.repeating(&cursor) { cursor in
            let subscription = cursor.subscription()
            subscriptions[Name(subscription.filter)] = subscription
        }
        Self.repeating(&cursor) { cursor in
            let replay = cursor.replay()
            replays[Name(replay.subscription.filter)] = replay
        }
        Self.repeating(&cursor) { cursor in
            let sequence: UInt64 = cursor.integer()
            pulled[Name(cursor.text())] = sequence
        }
        measure()
    }

    private static func repeating(_ cursor: inout RecordCursor, _ body: (inout RecordCursor) -> Void) {
        let count: UInt32 = cursor.integer()
        var done: UInt32 = 0
        while done < count && !cursor.isBad {
            body(&cursor)
            done += 1
        }
    }

    private static func packetIDs(_ cursor: inout RecordCursor) -> Set<UInt16> {
        var packetIDs: Set<UInt16> = []
        repeating(&cursor) { packetIDs.insert($0.integer()) }
        return packetIDs
    }
}
