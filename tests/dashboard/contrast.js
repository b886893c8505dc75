// Text whose contrast with what lies behind it is below 4.5 (WCAG 2.2, 1.4.3), worst first.
() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  // A canvas turns every notation of a colour into bytes.
  const bytes = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return [[r, g, b], alpha / 255];
  };
  const over = (top, alpha, under) => under.map((low, i) => alpha * top[i] + (1 - alpha) * low);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const [colour, alpha] = bytes(getComputedStyle(element).backgroundColor);
    return alpha === 1 ? colour : over(colour, alpha, behind(element.parentElement));
  };
  const opacity = (element) =>
    element ? getComputedStyle(element).opacity * opacity(element.parentElement) : 1;
  const contrast = (element) => {
    const back = behind(element);
    const style = getComputedStyle(element);
    const [colour, alpha] = bytes(element instanceof SVGElement ? style.fill : style.color);
    const front = over(colour, alpha * opacity(element), back);
    const [dark, light] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const says = (element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const seen = { opacityProperty: true, visibilityProperty: true };
  return [...document.querySelectorAll(".stApp :not([data-testid=stIconMaterial])")]
    .filter((element) => says(element) && element.checkVisibility(seen))
    .map((element) => [contrast(element), element.textContent.trim()])
    .filter(([ratio]) => ratio < 4.5)
    .sort(([a], [b]) => a - b);
};
