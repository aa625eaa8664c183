import DequeModule
import MQTTPackets
import MQTTSessions

/// The hook `published`, which acknowledgements wait for. It is called after the commit of what a PUBLISH has changed, for
/// the messages of one client one after the other, whatever connection they came on, and for clients side by side.
///
///     publishReceived ─▶ tellPublished ─▶ (committed) ─▶ takePublished ─▶ (hook, without the lock) ─▶ publishedAnswered
///                             └─ WaitingAnswer: PUBACK, PUBREC ────────────────────────────────────────────┘
///
/// What is with the hook counts as uncommitted of its connection, which is not read from where that is too much. It
/// outlives the connection: a client may send at QoS 0 and go.
extension BrokerCore {
    /// The message that was just accepted is for the hook. Gives the number that its answer waits for.
    mutating func tellPublished(_ c: Int, after ticket: UInt64) -> UInt64 {
        guard let message = accepted else { return 0 }
        accepted = nil
        let request = PublishedRequest(
            number: published.nextNumber,
            connection: id(c),
            client: connections[c].client,
            message: message,
            ticket: ticket,
            bytes: message.bytesHeld + MemoryLayout<PublishedRequest>.stride
        )
        connections[c].uncommittedBytes += request.bytes
        published.append(request, committed: committed)
        return request.number
    }

    /// A QoS 2 message has come again that is not routed again. Nobody knows whether the hook was called for it.
    mutating func acceptAgain(_ bytes: Span<UInt8>, _ view: PublishView, expiresAt: Int64, _ s: Int) {
        guard configuration.tellsPublished, ruledOut(bytes, view) == nil else { return }
        accepted = makeAccepted(bytes, view, expiresAt: expiresAt, s)
    }

    func makeAccepted(_ bytes: Span<UInt8>, _ view: PublishView, expiresAt: Int64, _ s: Int) -> Message {
        Message(
            copying: bytes,
            view,
            publisher: sessions[s].state.clientID,
            expiresAt: expiresAt,
            topicHash: TopicHash.hash(bytes.extracting(view.topic), seed: configuration.seed)
        )
    }

    /// Whether there are messages that the hook may be called for now.
    package mutating func hasPublished() -> Bool { !published.ready.isEmpty }

    /// Whether there are messages that the hook was not called for, or has not come back from.
    package mutating func hasUnpublished() -> Bool { published.bytes > 0 }

    /// So many messages that the hook is to be called for, side by side.
    package mutating func takePublished(_ count: Int) -> [PublishedRequest] { published.take(count) }

    /// The hook has come back. The reason is nil where it has nothing against the message.
    package mutating func publishedAnswered(_ request: PublishedRequest, _ refusal: ReasonCode?, at now: Int64) {
        self.now = now
        let wasFull = isPublishedFull
        published.finish(request, committed: committed)
        if wasFull && !isPublishedFull { resumeReading() }
        guard let c = index(request.connection), connections[c].state == .connected else { return }
        connections[c].uncommittedBytes -= request.bytes
        if let at = connections[c].waiting.firstIndex(where: { $0.published == request.number }) {
            connections[c].waiting[at].published = 0
            if let refusal, connections[c].version == .v5 { refuse(refusal, at, c) }
            sendAnswers(c)
        }
        readOnIfPublished(c)
    }

    private mutating func refuse(_ reason: ReasonCode, _ at: Int, _ c: Int) {
        guard case .acknowledgement(let kind, let id, let routed) = connections[c].waiting[at].answer, !routed.isError
        else { return }
        connections[c].waiting[at].answer = .acknowledgement(kind, id, reason)
        guard kind == .pubrec else { return }
        let s = session(of: c)
        sessions[s].state.inbound.released(id)  // [MQTT-4.3.3-9]
        let before = ticket
        change(s) { .packetReleased(incarnation: $0, packetID: id) }
        guard ticket > before else { return }
        connections[c].waiting[at].ticket = awaited(ticket, .pubrec)
        listWaiting(c)
    }

    var isPublishedFull: Bool { published.bytes >= limits.uncommittedBytesInAllMax }

    private mutating func readOnIfPublished(_ c: Int) {
        guard connections[c].isPausedForCommit, !isToWaitForCommit(c) else { return }
        let id = id(c)
        pausedForCommit.removeAll { $0 == id }
        readOn(c)
    }
}

/// A message that the hook is called for.
package struct PublishedRequest: Sendable {
    let number: UInt64
    let connection: ConnectionID
    /// Who published it.
    package let client: ClientInfo
    package let message: Message
    /// To be committed first.
    let ticket: UInt64
    let bytes: Int

    var publisher: [UInt8] { Array(client.id.utf8) }
}

/// All that is with the hook `published`, or is to be.
struct PublishedQueue: Sendable {
    /// By the bytes of the client identifier. The first of each is with the hook or the next to be.
    private var requests: [[UInt8]: Deque<PublishedRequest>] = [:]
    /// Clients whose first may go to the hook, and those whose first waits for a commit.
    private(set) var ready = Deque<[UInt8]>()
    private var uncommitted: [[UInt8]] = []
    private(set) var bytes = 0
    private(set) var nextNumber: UInt64 = 1

    mutating func append(_ request: PublishedRequest, committed: UInt64) {
        nextNumber += 1
        bytes += request.bytes
        let publisher = request.publisher
        requests[publisher, default: []].append(request)
        if requests[publisher]?.count == 1 { schedule(publisher, request, committed) }
    }

    private mutating func schedule(_ publisher: [UInt8], _ first: PublishedRequest, _ committed: UInt64) {
        if first.ticket <= committed { ready.append(publisher) } else { uncommitted.append(publisher) }
    }

    mutating func take(_ count: Int) -> [PublishedRequest] {
        var taken: [PublishedRequest] = []
        while taken.count < count, let publisher = ready.popFirst() {
            if let first = requests[publisher]?.first { taken.append(first) }
        }
        return taken
    }

    mutating func finish(_ request: PublishedRequest, committed: UInt64) {
        let publisher = request.publisher
        guard requests[publisher]?.first?.number == request.number else { return }
        requests[publisher]?.removeFirst()
        bytes -= request.bytes
        if let next = requests[publisher]?.first {
            schedule(publisher, next, committed)
        } else {
            requests[publisher] = nil
        }
    }

    mutating func committed(through ticket: UInt64) {
        guard !uncommitted.isEmpty else { return }
        var waiting: [[UInt8]] = []
        swap(&waiting, &uncommitted)
        for publisher in waiting {
            if let first = requests[publisher]?.first { schedule(publisher, first, ticket) }
        }
    }
}
