// A page in Chromium, whose two buttons are clicked: node browser.cjs CHROMIUM PAGE
const puppeteer = require('puppeteer-core')
const [, , executablePath, page] = process.argv

async function main() {
  const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox'] })
  try {
    const tab = await browser.newPage()
    const seen = []
    tab.on('console', (message) => seen.push(message.text()))
    tab.on('pageerror', (error) => seen.push(String(error)))
    tab.on('requestfailed', (request) => seen.push(`${request.url()} ${request.failure().errorText}`))
    await tab.goto(page, { waitUntil: 'networkidle0' })
    await tab.click('#buy')
    await tab.click('#join')
    await new Promise((resolve) => setTimeout(resolve, 3000))
    console.log(JSON.stringify(seen))
  } finally {
    await browser.close()
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
