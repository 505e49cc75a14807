{# Whether a part of the package is built: `vars: revetl: parts: {experiments: false}` switches one off. Experiments are
   about stays in audiences, so they go with the membership. #}
{% macro has_part(name) %}
    {% set parts = var('parts', none) or {} %}
    {% set known = ['membership', 'experiments', 'delivery', 'protocols'] %}
    {% set at = 'dbt_project.yml: vars.revetl.parts' %}
    {% if parts is not mapping %}
        {% do exceptions.raise_compiler_error(at ~ " is '" ~ parts ~ "'; it must be a mapping, such as {experiments: false}.") %}
    {% endif %}
    {% for part, is_on in parts.items() %}
        {% if part not in known or is_on is not boolean %}
            {% do exceptions.raise_compiler_error(at ~ ': ' ~ part ~ ': ' ~ is_on ~ ' is wrong; it must be true or false for one of '
                ~ known | join(', ') ~ '. docs/how-to/overrides.md says how to do without identity.') %}
        {% endif %}
    {% endfor %}
    {{ return(parts.get(name, true) and (name != 'experiments' or parts.get('membership', true))) }}
{% endmacro %}
