import MQTTPackets
import MQTTStore

/// What is in the journal and not over, and where it stands.
///
/// Records are applied in the order in which they stand in the journal, when it is opened as well as after each commit,
/// so that both come to the same.
struct JournalIndex {
    private(set) var sessions: [UInt64: JournalSession] = [:]
    /// By topic.
    private(set) var retained: [Name: RecordPlace] = [:]
    private(set) var broker: StoredBroker?
    private(set) var brokerPlace: RecordPlace?
    /// In ascending order without gaps; the last is being written.
    private(set) var segments: [Segment] = []
    /// Of all segments.
    private(set) var liveBytes = 0
    /// Of all segments but the last, which alone grows.
    private var sealedBytes = 0
    /// Of the first that counts, as the journal says.
    private(set) var firstSegment: UInt32 = 1
    /// Whether records of sessions come before the session's anchor.
    private(set) var isReading = true
    /// The last message's record, which the records of receivers behind it are about.
    private var lastMessage = RecordPlace(segment: 0, offset: 0, bytes: 0)
    private var lastSession: JournalSession?

    /// Of all segments.
    var totalBytes: Int { sealedBytes + (segments.last?.end ?? 0) }

    mutating func append(_ segment: Segment) {
        sealedBytes = totalBytes
        segments.append(segment)
    }

    mutating func removeFirstSegment() {
        let first = segments.removeFirst()
        if !segments.isEmpty { sealedBytes -= first.end }
    }

    mutating func removeLastSegment() {
        segments.removeLast()
        sealedBytes -= segments.last?.end ?? 0
    }

    func segment(_ number: UInt32) -> Segment? {
        guard let first = segments.first?.number, number >= first, Int(number - first) < segments.count else {
            return nil
        }
        return segments[Int(number - first)]
    }

    private mutating func count(_ bytes: Int, in segment: UInt32) {
        guard let segment = self.segment(segment) else { return }
        segment.liveBytes += bytes
        liveBytes += bytes
    }

    /// All has been read. What has no anchor was over in files that are gone.
    mutating func finishReading() {
        isReading = false
        for session in sessions.values {
            if session.anchor == nil { remove(session) } else { session.queue.settle() }
        }
    }

    func session(_ incarnation: UInt64) -> JournalSession? { sessions[incarnation] }

    private mutating func known(_ incarnation: UInt64) -> JournalSession? {
        if let lastSession, lastSession.incarnation == incarnation { return lastSession }
        if let session = sessions[incarnation] {
            lastSession = session
            return session
        }
        guard isReading else { return nil }
        let session = JournalSession(incarnation)
        sessions[incarnation] = session
        lastSession = session
        return session
    }

    /// Takes up what a record says. False where it says nothing that can be understood.
    mutating func apply(_ kind: JournalFormat.Kind, _ cursor: RecordCursor, at place: RecordPlace) -> Bool {
        var cursor = cursor
        switch kind {
        case .endMark, .index: break
        case .message: lastMessage = place
        case .receivers: applyReceivers(&cursor, at: place)
        case .broker:
            broker = StoredBroker(
                time: cursor.integer(),
                wallClock: cursor.integer(),
                lastIncarnation: cursor.integer(),
                lastRetainedVersion: cursor.integer()
            )
            if let before = brokerPlace { count(-Int(before.bytes), in: before.segment) }
            brokerPlace = place
            count(Int(place.bytes), in: place.segment)
        case .retained:
            cursor.skip(8)
            replaceRetained(cursor.text(), place)
        case .retainedCleared: replaceRetained(cursor.rest(), nil)
        case .firstSegment: firstSegment = cursor.integer()
        default: applyToSession(kind, &cursor, at: place)
        }
        return !cursor.isBad
    }

    private mutating func replaceRetained(_ topic: String, _ place: RecordPlace?) {
        let before: RecordPlace?
        if let place {
            before = retained.updateValue(place, forKey: Name(topic))
            count(Int(place.bytes), in: place.segment)
        } else {
            before = retained.removeValue(forKey: Name(topic))
        }
        if let before { count(-Int(before.bytes), in: before.segment) }
    }

    private mutating func applyToSession(
        _ kind: JournalFormat.Kind,
        _ cursor: inout RecordCursor,
        at place: RecordPlace
    ) {
        let incarnation: UInt64 = cursor.integer()
        switch kind {
        case .received: return receive(cursor.integer(), incarnation)
        case .finished: return finish(cursor.integer(), incarnation)
        case .ended:
            if let session = sessions[incarnation] { remove(session) }
            return
        case .began:
            if let session = sessions[incarnation] {
                if session.anchor != nil { return cursor.skip(cursor.remaining) }
                // Nothing of a session comes before its beginning but what came too late for one of its name.
                remove(session)
            }
            sessions[incarnation] = JournalSession(incarnation)
        case .session:
            if sessions[incarnation] == nil { sessions[incarnation] = JournalSession(incarnation) }
        default: break
        }
        guard let session = known(incarnation) else { return }
        let before = session.stateBytes
        change(session, kind, &cursor)
        if kind == .began || kind == .session {
            if let anchor = session.anchor { count(-before, in: anchor.segment) }
            session.anchor = place
            count(session.stateBytes, in: place.segment)
        } else if let anchor = session.anchor {
            count(session.stateBytes - before, in: anchor.segment)
        }
    }

    private func change(_ session: JournalSession, _ kind: JournalFormat.Kind, _ cursor: inout RecordCursor) {
        switch kind {
        case .session: session.read(&cursor)
        case .began:
            session.expiryInterval = cursor.integer()
            session.clientID = cursor.text()
            session.disconnectedAt = nil
            session.measure()
        case .expiry: session.expiryInterval = cursor.integer()
        case .connected: session.disconnectedAt = nil
        case .disconnected: session.disconnectedAt = cursor.integer()
        case .will: session.set(cursor.will())
        case .willCleared: session.set(nil)
        case .subscribed: session.subscribe(cursor.subscription())
        case .unsubscribed: session.unsubscribe(cursor.text())
        case .sendMark: session.sendMark = cursor.integer()
        case .retired: session.retire(cursor.integer())
        case .packetReceived: session.receive(cursor.integer())
        case .packetReleased: session.release(cursor.integer())
        case .replay: session.begin(cursor.replay())
        case .replayEnded: session.endReplay(cursor.text())
        case .replayPulled:
            let sequence: UInt64 = cursor.integer()
            session.pull(cursor.text(), sequence)
        default: break
        }
    }

    private mutating func applyReceivers(_ cursor: inout RecordCursor, at place: RecordPlace) {
        let distance: UInt32 = cursor.integer()
        let isSole = cursor.integer(UInt32.self) == 1
        let message = distance == 0 || distance > place.offset ? 0 : place.offset - distance
        let messageBytes = message == lastMessage.offset && place.segment == lastMessage.segment ? lastMessage.bytes : 0
        var position = 0
        while cursor.remaining > 0 {
            let receiver = cursor.receiver()
            defer { position += 1 }
            guard let session = known(receiver.incarnation) else { continue }
            session.nextNumber = max(session.nextNumber, receiver.number &+ 1)
            let bytes = receiver.bytes + (isSole ? JournalFormat.receiversHeadBytes + Int(messageBytes) : 0)
            let entry = QueueEntry(
                number: receiver.number,
                segment: place.segment,
                receivers: place.offset,
                message: message,
                position: position,
                isSole: isSole,
                bytes: bytes
            )
            take(entry, messageBytes: messageBytes)
            if let before = session.queue.insert(entry) { release(before) }
            if !isReading { session.queue.settle() }
        }
    }

    private mutating func take(_ entry: QueueEntry, messageBytes: UInt32) {
        count(entry.bytes, in: entry.segment)
        guard entry.message != 0, !entry.isSole, let segment = segment(entry.segment) else { return }
        if segment.shared[entry.message] == nil {
            segment.shared[entry.message] = Segment.Shared(receivers: 1, bytes: messageBytes)
            count(Int(messageBytes), in: entry.segment)
        } else {
            segment.shared[entry.message]?.receivers += 1
        }
    }

    private mutating func release(_ entry: QueueEntry) {
        count(-entry.bytes, in: entry.segment)
        releaseShared(entry)
    }

    private mutating func releaseShared(_ entry: QueueEntry) {
        guard entry.message != 0, !entry.isSole, let segment = segment(entry.segment),
            let shared = segment.shared[entry.message]
        else { return }
        if shared.receivers > 1 {
            segment.shared[entry.message]?.receivers -= 1
        } else {
            segment.shared[entry.message] = nil
            count(-Int(shared.bytes), in: entry.segment)
        }
    }

    private mutating func finish(_ number: UInt64, _ incarnation: UInt64) {
        if let entry = known(incarnation)?.queue.remove(number) { release(entry) }
    }

    private mutating func receive(_ number: UInt64, _ incarnation: UInt64) {
        guard let session = known(incarnation), var entry = session.queue[number], entry.message != 0 else { return }
        release(entry)
        entry.dropMessage(bytes: JournalFormat.receiversHeadBytes + JournalFormat.receiverBytes)
        count(entry.bytes, in: entry.segment)
        session.queue.update(entry)
    }

    private mutating func remove(_ session: JournalSession) {
        if let anchor = session.anchor { count(-session.stateBytes, in: anchor.segment) }
        session.queue.visitAll { release($0) }
        sessions[session.incarnation] = nil
        lastSession = nil
    }
}
