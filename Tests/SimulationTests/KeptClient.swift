import MQTTPackets
import MQTTSessions
import MQTTStore
import MQTTStoreTesting
import NIOCore

/// A store that is a model, and what of its changes is not committed yet.
struct ModelStore {
    private(set) var kept = StoreContents()
    private var changes: [StoreChange] = []
    /// The batch that is being committed, and the ticket that it reaches.
    private var batch: (changes: [StoreChange], ticket: UInt64)?
    private(set) var committed: UInt64 = 0

    var isCommitting: Bool { batch != nil }

    mutating func begin(_ changes: [StoreChange], through ticket: UInt64) {
        precondition(batch == nil, "one batch at a time")
        batch = (changes, ticket)
    }

    /// The batch is kept. Gives the ticket that was reached.
    mutating func commit() -> UInt64? {
        guard let done = batch else { return nil }
        kept.apply(done.changes)
        batch = nil
        committed = done.ticket
        return committed
    }

    /// The process ends: what was under way has come to last, or not. Tickets begin anew.
    mutating func crash(keepsBatch: Bool) -> UInt64 {
        if keepsBatch { _ = commit() }
        defer {
            batch = nil
            committed = 0
        }
        return committed
    }
}

/// A program with a client and its store. What stands here besides the session is what its user remembers.
final class KeptClient {
    struct Published {
        let number: Int
        let qos: QoS
        /// The program was told that it will arrive.
        var isAccepted = false
    }

    let name: String
    private let connect: Connect
    private(set) var session: ClientSession
    var store = ModelStore()
    /// The store says so before it has anything.
    let storeLies: Bool
    var decoder: PacketDecoder
    var unread = ByteBuffer()
    var link: KeptLink?

    private(set) var published: [Published] = []
    /// Those that are not accepted yet: the number in `published`, and the ticket that it waits for.
    private var unaccepted: [(at: Int, ticket: UInt64)] = []
    /// Publishes of this run that the session has not said to be over: its number → the number in `published`.
    private var inSession: [UInt64: Int] = [:]
    /// What was handed out and not taken.
    private(set) var untaken: [(publish: Publish, receipt: Receipt?)] = []
    private(set) var taken: [Publish] = []
    /// Of QoS 2, the last in `taken`, with the tickets after which they do not come again.
    private var unsure: [(payload: ByteBuffer, ticket: UInt64)] = []
    /// The program has ended before it was known that they were taken.
    private(set) var mayRepeat: Set<ByteBuffer> = []

    init(_ name: String, _ version: ProtocolVersion, receiveMaximum: Int, storeLies: Bool) throws {
        self.name = name
        self.storeLies = storeLies
        var connect = Connect(version: version, clientID: name, cleanStart: false)
        if version == .v5 {
            connect.properties[integer: .sessionExpiryInterval] = .max
            connect.properties[integer: .receiveMaximum] = UInt32(receiveMaximum)
        }
        self.connect = connect
        decoder = PacketDecoder(version: version)
        session = ClientSession(connect: connect, acknowledging: .whenTold)
        try session.restore(nil, [])
    }

    // MARK: The program

    func publish(qos: QoS, padding: Int) {
        let number = published.count
        published.append(Published(number: number, qos: qos))
        let payload = ByteBuffer(string: "\(name) \(number) " + String(repeating: ".", count: padding))
        guard let own = session.publish(Publish(topic: "t/\(name)", payload: payload, qos: qos)) else { return }
        inSession[own] = number
        unaccepted.append((number, session.lastTicket))
    }

    func subscribe() { _ = session.subscribe([.init("t/+", SubscriptionOptions(qos: .exactlyOnce))]) }

    func take() {
        guard !untaken.isEmpty else { return }
        let (publish, receipt) = untaken.removeFirst()
        taken.append(publish)
        guard let receipt else { return }
        session.acknowledge(receipt)
        if receipt.qos == .exactlyOnce { unsure.append((publish.payload, session.lastTicket)) }
    }

    func connectionBegan() {
        session.connectionBegan()
        decoder = PacketDecoder(version: connect.version)
        unread = ByteBuffer()
    }

    /// What was handed out at QoS 1 and 2 can be taken still.
    func connectionEnded() { session.connectionEnded() }

    func received(_ bytes: ByteBuffer) throws {
        unread.writeImmutableBuffer(bytes)
        try handleUnread()
    }

    func handleUnread() throws {
        while !session.isHeld, let packet = try decoder.next(&unread) {
            if case .publish(let publish) = packet {
                let arrival = try session.publishArrived(qos: publish.qos, packetID: publish.packetID ?? 0)
                if case .deliver(let receipt) = arrival { untaken.append((publish, receipt)) }
                continue
            }
            switch try session.received(packet) {
            case .published(let number, let reason):
                try expect(!reason.isError, "\(name) is refused a message: \(reason)")
                // Of an earlier run the program knows nothing.
                if let at = inSession.removeValue(forKey: number) { published[at].isAccepted = true }
            case .connected(let connack):
                try expect(connack.reasonCode == .success, "\(name) is refused: \(connack.reasonCode)")
            default: break
            }
        }
    }

    func takeOutput() -> ByteBuffer {
        defer { session.output = ByteBuffer() }
        return session.output
    }

    // MARK: The store

    /// The store is given what there is, or has it. False where there is nothing to do.
    func commitAStep() throws -> Bool {
        if let ticket = store.commit() {
            if !storeLies { try committed(through: ticket) }
            return true
        }
        let (changes, ticket) = session.takeChanges()
        guard !changes.isEmpty else { return false }
        store.begin(changes, through: ticket)
        if storeLies { try committed(through: ticket) }
        return true
    }

    private func committed(through ticket: UInt64) throws {
        session.committed(through: ticket)
        while let first = unaccepted.first, first.ticket <= ticket {
            published[first.at].isAccepted = true
            unaccepted.removeFirst()
        }
        unsure.removeAll { $0.ticket <= ticket }
        try handleUnread()
    }

    /// The program ends, and another run takes up what the store has.
    func crash(keepsBatch: Bool) throws {
        let ticket = store.crash(keepsBatch: keepsBatch)
        mayRepeat.formUnion(unsure.filter { $0.ticket > ticket }.map(\.payload))
        unsure = []
        unaccepted = []
        inSession = [:]
        untaken = []
        unread = ByteBuffer()
        session = ClientSession(connect: connect, acknowledging: .whenTold)
        let kept = store.kept.sessions.keys.first
        let messages = kept.map { store.kept.messages(of: $0, from: 0) } ?? []
        do { try session.restore(store.kept.state.sessions.first, messages) } catch {
            throw SimulationFailure("\(name) cannot take up what its store has")
        }
    }
}

/// One connection of such a client: what is under way in either direction.
final class KeptLink {
    let client: KeptClient
    var toBroker = ByteBuffer()
    var toClient = ByteBuffer()
    var isCut = false
    /// What the broker has not taken yet.
    var rest = ByteBuffer()

    init(_ client: KeptClient) { self.client = client }
}
