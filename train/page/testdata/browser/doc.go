// Package browser tests the page of a run in a headless Chromium. It is a module of its own, so that who imports
// Lemnos need not have what drives the browser.
package browser
