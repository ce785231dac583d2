// A page that is opened from disk may start no worker: a hidden frame does its work, the search.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.ready = new Promise((resolve) => {
        frame.onload = () => resolve(frame.contentWindow)
      })
      window.addEventListener("message", (event) => {
        if (event.source === frame.contentWindow)
          this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
      // What the frame's script posts, it posts to the page that holds the frame.
      frame.srcdoc =
        '<script>self.postMessage = (data) => parent.postMessage(data, "*")</' +
        `script><script src="${url}"></` + "script>"
      document.body.appendChild(frame)
    }

    postMessage(data) {
      this.ready.then((frame) => frame.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {}
  }
}
