import MQTTPackets
import MQTTStore
import NIOCore

/// A store under test beside the plain model of what it has to hold.
struct StoreTrial {
    let seed: UInt64
    private let name: String
    private let opening: StoreConformance.Opening
    private var store: any MessageStore
    private(set) var contents = StoreContents()
    private var lastBatch: [StoreChange] = []
    /// Incarnations of all sessions that ever began.
    private var begun: Set<UInt64> = []
    private var batches: Int64 = 0
    private var opens = 0

    init(_ name: String, seed: UInt64, opening: @escaping StoreConformance.Opening) async throws {
        self.name = name
        self.seed = seed
        self.opening = opening
        store = try await opening()
        try await open()
    }

    /// Commits the changes behind a record of the broker, as the broker does.
    mutating func commit(_ changes: StoreChange...) async throws { try await commit(changes) }

    mutating func commit(_ changes: [StoreChange]) async throws {
        batches += 1
        let broker = StoredBroker(
            time: batches * 1_000,
            wallClock: 1_700_000_000_000 + batches,
            lastIncarnation: 1_000,
            lastRetainedVersion: UInt64(batches)
        )
        try await commitAsIs([.broker(broker)] + changes)
    }

    mutating func commitAsIs(_ changes: [StoreChange]) async throws {
        try await store.commit(changes)
        lastBatch = changes
        for case .sessionBegan(let incarnation, _, _) in changes { begun.insert(incarnation) }
        if store.isDurable { contents.apply(changes) }
    }

    /// As a store may see a batch of which it did not hear that it was committed.
    mutating func commitAgain() async throws { try await commitAsIs(lastBatch) }

    /// Commits while the messages of a session that the changes are not about are read.
    mutating func commit(_ changes: [StoreChange], whileReading incarnation: UInt64) async throws {
        let store = store
        async let before = store.messages([StoredPage(incarnation: incarnation, number: 0, count: .max, bytes: .max)])
        try await commitAsIs(changes)
        let page = try await before.first ?? []
        try require(
            contents.differences(fromPage: page, of: incarnation, from: 0, count: .max, bytes: .max),
            "in a page that was read during a commit"
        )
    }

    func messages(of incarnation: UInt64, from number: UInt64, count: Int, bytes: Int) async throws -> [StoredMessage] {
        let wanted = StoredPage(incarnation: incarnation, number: number, count: count, bytes: bytes)
        let page = try await store.messages([wanted]).first ?? []
        try require(
            contents.differences(fromPage: page, of: incarnation, from: number, count: count, bytes: bytes),
            "in a page"
        )
        return page
    }

    /// Reads pages of several sessions at once.
    func checkTogether(_ pages: [StoredPage]) async throws {
        let read = try await store.messages(pages)
        try require(
            read.count == pages.count ? [] : ["\(pages.count) pages were asked for, and \(read.count) came"],
            "in several pages at once"
        )
        for (page, messages) in zip(pages, read) {
            try require(
                contents.differences(
                    fromPage: messages,
                    of: page.incarnation,
                    from: page.number,
                    count: page.count,
                    bytes: page.bytes
                ),
                "in a page of several"
            )
        }
    }

    /// Whether what a store says now and what it says after it was opened again is right.
    mutating func check() async throws {
        try await checkMessages()
        try await reopen()
        try await checkMessages()
    }

    mutating func reopen() async throws {
        await store.close()
        store = try await opening()
        try await open()
    }

    mutating func end() async throws {
        try await check()
        await store.close()
    }

    private mutating func open() async throws {
        opens += 1
        let state = try await store.open()
        try require(contents.differences(from: state), "in what the store opened with, time \(opens)")
    }

    /// Reads all sessions page by page. Those that have ended, or never were, have no messages.
    func checkMessages() async throws {
        for incarnation in begun.subtracting(contents.sessions.keys).sorted() + [999_999] {
            _ = try await messages(of: incarnation, from: 0, count: .max, bytes: .max)
        }
        for incarnation in contents.sessions.keys.sorted() {
            let all = try await messages(of: incarnation, from: 0, count: .max, bytes: .max)
            let size = 1 + all.count / 3
            var number: UInt64 = 0
            while true {
                let page = try await messages(of: incarnation, from: number, count: size, bytes: .max)
                guard let last = page.last else { break }
                number = last.number + 1
            }
        }
    }

    func require(_ differences: [String], _ moment: String) throws {
        guard differences.isEmpty else {
            throw StoreConformanceFailure(name: name, seed: seed, moment: moment, differences: differences)
        }
    }
}

extension StoreTrial {
    static func began(_ incarnation: UInt64, _ clientID: String? = nil, expiry: UInt32 = .max) -> StoreChange {
        .sessionBegan(incarnation: incarnation, clientID: clientID ?? "client \(incarnation)", expiryInterval: expiry)
    }

    static func queued(
        _ number: UInt64,
        _ incarnation: UInt64,
        _ message: Message,
        qos: QoS = .exactlyOnce
    ) -> StoreChange {
        .queued(StoredMessage(number: number, message: message, qos: qos), incarnation: incarnation)
    }

    static func message(
        _ topic: String = "a/topic",
        _ payload: String = "a payload",
        publisher: String? = "a publisher"
    ) -> Message {
        Message(
            Publish(topic: topic, payload: ByteBuffer(string: payload), qos: .exactlyOnce),
            publisher: publisher
        )
    }

    static func subscription(_ filter: String, _ qos: QoS = .atLeastOnce, identifier: UInt32 = 0) -> StoredSubscription
    {
        StoredSubscription(filter: filter, options: SubscriptionOptions(qos: qos), identifier: identifier)
    }
}
